-- What students write in their own cells and JupyterLab shows: HTML tags, pictures, citations, formulas and anchors.
--
-- Runs before laporan.lua. Raw HTML never reaches the page: tags become pandoc's own elements, and what cannot be shown is said
-- in its place. Each "CATATAN<tab>text<tab>what" on stderr becomes a line for the person (report/exporters.py).

local NO_PLACE = { iframe = true, video = true, audio = true, canvas = true, object = true, embed = true }
local WRAP = {
  b = pandoc.Strong, strong = pandoc.Strong, i = pandoc.Emph, em = pandoc.Emph, u = pandoc.Underline, ins = pandoc.Underline,
  s = pandoc.Strikeout, del = pandoc.Strikeout, strike = pandoc.Strikeout, sub = pandoc.Subscript, sup = pandoc.Superscript,
  code = function(content) return pandoc.Code(pandoc.utils.stringify(content)) end,
}
WRAP.kbd, WRAP.tt = WRAP.code, WRAP.code
local WIDEST = 640 -- CSS pixels that fill the width of the text

local function note(text, what)
  io.stderr:write("CATATAN\t", (text:gsub("%s+", " ")), "\t", what, "\n")
end

local function said(text)
  return pandoc.Emph({ pandoc.Str("[" .. text .. "]") })
end

-- HTML as blocks, read without access to files or network.
local function read(html)
  return pandoc.read(html, "html-native_divs-native_spans-auto_identifiers", nil, {}).blocks
end

local function tag_of(raw)
  local slash, name = raw:match("^<(/?)%s*(%a%w*)")
  return name and name:lower(), slash == "/"
end

local function picture_of(raw)
  local first = read(raw)[1]
  return first and first.content and first.content[1]
end

-- One tag that stands alone; a comment or a tag that only lays out shows nothing, as in JupyterLab.
local function alone(raw)
  local name = tag_of(raw)
  if raw:match("^<!%-%-") then return {} end
  if name == "br" then return pandoc.LineBreak() end
  if name == "img" then return picture_of(raw) or {} end
  if NO_PLACE[name] and not raw:match("^</") then
    return said("<" .. name .. "> hanya tampil di JupyterLab: " .. (raw:match("src%s*=%s*[\"']?([^\"'%s>]+)") or "tanpa alamat"))
  end
  return name and {} or pandoc.Str(raw)
end

local function closing(inlines, from, name)
  local depth = 0
  for at = from, #inlines do
    local element = inlines[at]
    if element.t == "RawInline" then
      local found, ends = tag_of(element.text)
      if found == name then depth = depth + (ends and -1 or 1) end
      if depth == 0 then return at end
    end
  end
end

local function with_tags(inlines)
  local kept, at = pandoc.Inlines({}), 1
  while at <= #inlines do
    local element = inlines[at]
    if element.t ~= "RawInline" or element.format ~= "html" then
      kept:insert(element)
    else
      local name, ends = tag_of(element.text)
      local last = WRAP[name] and not ends and closing(inlines, at, name)
      if last then
        local inner = pandoc.Inlines({})
        for i = at + 1, last - 1 do inner:insert(inlines[i]) end
        kept:insert(WRAP[name](with_tags(inner)))
        at = last
      else
        local found = alone(element.text)
        if pandoc.utils.type(found) == "Inline" then kept:insert(found) end
      end
    end
    at = at + 1
  end
  return kept
end

local function raw_block(block)
  if block.format ~= "html" then return nil end
  local name = tag_of(block.text)
  if name == "script" or name == "style" or block.text:match("^<!%-%-") then return {} end
  if name == "hr" then return pandoc.HorizontalRule() end
  local found = alone(block.text)
  return pandoc.utils.type(found) == "Inline" and pandoc.Para({ found }) or {}
end

-- An HTML output of a cell, which report/foreign.py hands on as a code block.
local function output(block)
  if not block.classes:includes("keluaran-html") then return nil end
  local blocks = read(block.text)
  return #blocks > 0 and blocks or pandoc.Para({ said("Keluaran ini interaktif dan hanya tampil di JupyterLab") })
end

local function image(element)
  local alt = pandoc.utils.stringify(element.caption)
  if not element.src:match("^keluaran%-%d+%.%a+$") then
    note(element.src:sub(1, 200), "gambar ini tidak dapat disertakan")
    local where = element.src:match("^data:") and "" or " (" .. element.src .. ")"
    return said("Gambar tidak disertakan: " .. (alt == "" and "tanpa keterangan" or alt) .. where)
  end
  if alt == "" then element.caption = pandoc.Inlines("Gambar tanpa teks alternatif") end
  local number, unit = (element.attributes.width or ""):match("^%s*([%d.]+)%s*(.-)%s*$")
  local share = tonumber(number) and (unit == "%" and number or 100 * number / WIDEST)
  element.attributes.width = share and math.max(1, math.min(100, math.ceil(share))) .. "%" or "100%"
  element.attributes.height, element.attributes.style, element.title = nil, nil, ""
  if FORMAT:match("html") then return element end
  -- pandoc gives Typst no text for a picture, and PDF/UA wants one.
  local text = pandoc.utils.stringify(element.caption):gsub("[\\\"]", "\\%0")
  return pandoc.RawInline("typst", '#box(image("' .. element.src .. '", width: ' .. element.attributes.width .. ', alt: "' .. text .. '"))')
end

-- Literature is named by a link that JupyterLab shows as it is, [(He dkk. 2016)](#ref-he2016): on the page a citation. Neighbours
-- share one bracket.
local function literature(inlines)
  local kept = pandoc.Inlines({})
  for _, one in ipairs(inlines) do
    local key = one.t == "Link" and one.target:match("^#ref%-(%w+)$")
    local before = #kept > 1 and kept[#kept].t:match("^S%a+") and kept[#kept - 1] -- Space or SoftBreak
    if key and before and before.t == "Cite" then
      kept:remove()
      before.citations:insert(pandoc.Citation(key, "NormalCitation"))
      before.content:extend({ pandoc.Space() })
      before.content:extend(one.content)
    else
      kept:insert(key and pandoc.Cite(one.content, { pandoc.Citation(key, "NormalCitation") }) or one)
    end
  end
  return kept
end

-- A name after an @ that the bibliography does not have is just a word.
local function citations(doc)
  local _, cited = pandoc.log.silence(pandoc.utils.references, doc)
  local known = {}
  for _, one in ipairs(cited) do known[one.id] = true end
  return doc:walk({
    Cite = function(cite)
      for _, one in ipairs(cite.citations) do
        if not known[one.id] then
          note("@" .. one.id, "bukan rujukan dalam daftar pustaka; dicetak apa adanya")
          return cite.content
        end
      end
    end,
  })
end

-- pandoc warns of TeX that it cannot read; then the source itself is shown, as a formula of the same place.
local function formula(math)
  local target = FORMAT:match("html") and "html" or "typst"
  local options = pandoc.WriterOptions({ html_math_method = "mathml" })
  local warnings = pandoc.log.silence(pandoc.write, pandoc.Pandoc({ pandoc.Plain({ math }) }), target, options)
  if #warnings == 0 then return nil end
  note(math.text, "rumus ini memuat perintah TeX yang tidak dikenal; dicetak apa adanya")
  return pandoc.Code(math.text)
end

-- JupyterLab's anchor of a heading is its text with hyphens; a link into nowhere is a word.
local function anchors(doc)
  local places = {}
  local function keep(element) if element.identifier ~= "" then places[element.identifier] = element.identifier end end
  doc:walk({
    Header = function(header)
      keep(header)
      places[pandoc.utils.stringify(header):gsub("%s", "-")] = header.identifier
    end,
    Div = keep, Span = keep, Table = keep, Figure = keep, CodeBlock = keep,
  })
  return doc:walk({
    Link = function(link)
      local id = link.target:match("^#(.*)$")
      if not id or id:match("^fig%-") or id:match("^tbl%-") or id:match("^sec%-") then return nil end
      if places[id] then
        link.target = "#" .. places[id]
        return link
      end
      note("#" .. id, "tujuan tautan ini tidak ada; kata-katanya dicetak tanpa tautan")
      return link.content
    end,
  })
end

-- A chapter's title is its first heading of level 1, however it is written; no level is skipped, which PDF/UA forbids.
local function levels(doc)
  local title, last = nil, 0
  doc:walk({ Header = function(header) title = title or (header.level == 1 and header.content) or nil end })
  if not doc.meta.report and title then doc.meta.title = pandoc.MetaInlines(title) end
  if not title then last = 1 end
  return doc:walk({
    Header = function(header)
      header.level = math.min(header.level, last + 1)
      last = header.level
      return header
    end,
  })
end

return {
  { CodeBlock = output, RawBlock = raw_block, Inlines = with_tags },
  { Image = image, Math = formula, Inlines = literature },
  { Pandoc = function(doc) return levels(anchors(citations(doc))) end },
}
