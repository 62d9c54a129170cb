-- What students write in their own cells and JupyterLab shows: HTML tags, pictures, citations, formulas and anchors.
--
-- Runs before laporan.lua. Raw HTML never reaches the page: tags become pandoc's own elements, and what cannot be shown
-- is said in its place. Each "CATATAN<tab>text<tab>remark" on stderr becomes a line for the person (exporters.py).

local PLAIN = "commonmark_x-footnotes-superscript-subscript-emoji-raw_attribute-yaml_metadata_block"
local stringify = pandoc.utils.stringify
local function as_code(content) return pandoc.Code(stringify(content)) end
local WRAP = {
  b = pandoc.Strong, strong = pandoc.Strong, i = pandoc.Emph, em = pandoc.Emph, u = pandoc.Underline,
  ins = pandoc.Underline, s = pandoc.Strikeout, del = pandoc.Strikeout, strike = pandoc.Strikeout,
  sub = pandoc.Subscript, sup = pandoc.Superscript, code = as_code, kbd = as_code, tt = as_code,
}
local LONGEST = 2000 -- letters of an address; a PDF takes no very long one
local WIDEST = 640 -- CSS pixels that fill the width of the text

local function note(text, remark)
  io.stderr:write("CATATAN\t", (text:gsub("%s+", " ")), "\t", remark, "\n")
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

-- What stands for one tag alone; nil for a comment or a tag that only lays out, which JupyterLab does not show either.
local function alone(raw)
  local name = tag_of(raw)
  if raw:match("^<!%-%-") then return nil end
  if name == "br" then return pandoc.LineBreak() end
  if name == "img" then
    local first = read(raw)[1]
    return first and first.content and first.content[1]
  end
  return not name and pandoc.Str(raw) or nil
end

-- Tags around words become pandoc's own elements; one that is never closed wraps nothing.
local function with_tags(inlines)
  local kept, open = pandoc.Inlines({}), pandoc.List({}) -- open: {name, how much was kept before it}
  for _, inline in ipairs(inlines) do
    local raw = inline.t == "RawInline" and inline.format == "html"
    local name, ends = tag_of(raw and inline.text or "")
    if WRAP[name] and not ends then
      open:insert({ name, #kept })
    elseif WRAP[name] then
      local last = #open
      while last > 0 and open[last][1] ~= name do last = last - 1 end
      if last > 0 then
        local inner = pandoc.Inlines({ table.unpack(kept, open[last][2] + 1) })
        kept = pandoc.Inlines({ table.unpack(kept, 1, open[last][2]) }) .. { WRAP[name](inner) }
        open = pandoc.List({ table.unpack(open, 1, last - 1) })
      end
    else
      if raw then inline = alone(inline.text) end
      if inline then kept:insert(inline) end
    end
  end
  return kept
end

local function raw_block(block)
  local name = tag_of(block.text)
  if name == "hr" then return pandoc.HorizontalRule() end
  local shown = alone(block.text)
  return shown and pandoc.Para({ shown }) or {}
end

-- Each cell and output is read on its own, as JupyterLab does: what one leaves open or names again is no other's. What
-- pandoc doubts (notes, addresses given twice) is read by JupyterLab's own rules.
local function part(block)
  if not block.classes:includes("sel") then return nil end
  local format = { format = "markdown", extensions = PANDOC_READER_OPTIONS.extensions }
  local doubts, doc = pandoc.log.silence(pandoc.read, block.text, format, PANDOC_READER_OPTIONS)
  if #doubts > 0 then doubts, doc = pandoc.log.silence(pandoc.read, block.text, PLAIN) end
  return doc.blocks
end

-- An HTML output of a cell, which report/foreign.py hands on as a code block.
local function output(block)
  if not block.classes:includes("keluaran-html") then return nil end
  local blocks = read(block.text)
  return #blocks > 0 and blocks or pandoc.Para({ said("Keluaran ini interaktif dan hanya tampil di JupyterLab") })
end

local function image(element)
  local alt, source = stringify(element.caption), element.src
  if not source:match("^keluaran%-%d+%.%a+$") then
    local address = source:match("^data:[^;,]*") or source -- not the whole picture in letters
    note(address, "gambar ini tidak dapat disertakan")
    return said("Gambar tidak disertakan: " .. (alt == "" and "tanpa keterangan" or alt) .. " (" .. address .. ")")
  end
  if alt == "" then alt, element.caption = "Gambar tanpa teks alternatif", "Gambar tanpa teks alternatif" end
  local number, unit = (element.attributes.width or ""):match("^%s*([%d.]+)%s*(.-)%s*$")
  local share = tonumber(number) and (unit == "%" and number or 100 * number / WIDEST)
  local width = share and math.max(1, math.min(100, math.ceil(share))) .. "%" or "100%"
  element.attributes.width, element.attributes.height, element.attributes.style, element.title = width, nil, nil, ""
  if FORMAT:match("html") then return element end
  -- pandoc gives Typst no text for a picture, and PDF/UA wants one.
  local text = alt:gsub("[\\\"]", "\\%0")
  return pandoc.RawInline("typst", '#box(image("' .. source .. '", width: ' .. width .. ', alt: "' .. text .. '"))')
end

-- Literature is named by a link that JupyterLab shows as it is, [(He dkk. 2016)](#ref-he2016): on the page a citation.
-- Neighbours share one bracket.
local function literature(inlines)
  local kept = pandoc.Inlines({})
  for _, inline in ipairs(inlines) do
    local key = inline.t == "Link" and inline.target:match("^#ref%-(%w+)$")
    local before = #kept > 1 and kept[#kept].t:match("^S%a+") and kept[#kept - 1] -- Space or SoftBreak
    if key and before and before.t == "Cite" then
      kept:remove()
      before.citations:insert(pandoc.Citation(key, "NormalCitation"))
      before.content = before.content .. { pandoc.Space() } .. inline.content
    else
      kept:insert(key and pandoc.Cite(inline.content, { pandoc.Citation(key, "NormalCitation") }) or inline)
    end
  end
  return kept
end

-- A name after an @ that the bibliography does not have is just a word.
local function citations(doc)
  local _, references = pandoc.log.silence(pandoc.utils.references, doc)
  return doc:walk({
    Cite = function(cite)
      for _, citation in ipairs(cite.citations) do
        if not references:find_if(function(entry) return entry.id == citation.id end) then
          note("@" .. citation.id, "bukan rujukan dalam daftar pustaka; dicetak apa adanya")
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

-- JupyterLab's anchor of a heading is its text with hyphens; a link into nowhere is a word. An id that an earlier cell
-- has given gets a number behind it.
local function anchors(doc)
  local places = {}
  local function keep(element)
    local id, times = element.identifier, 0
    while places[element.identifier or ""] do
      times = times + 1
      element.identifier = id .. "-" .. times
    end
    if id and id ~= "" then places[element.identifier] = element.identifier end
    local text = element.t == "Header" and stringify(element):gsub("%s", "-")
    if text then places[text] = places[text] or element.identifier end
    return element
  end
  return doc:walk({ Block = keep, Inline = keep }):walk({
    Link = function(link)
      local id = link.target:match("^#(.*)$")
      if not id and #link.target <= LONGEST then return nil end
      if places[id] then
        link.target = "#" .. places[id]
        return link
      end
      note(link.target:sub(1, 60), "tautan ini tidak dapat dibuka; kata-katanya dicetak tanpa tautan")
      return link.content
    end,
  })
end

-- A chapter's title is its first heading of level 1, however it is written; it stands in the template, and all headings
-- below it move up. No level is skipped, which PDF/UA forbids.
local function levels(doc)
  local chapter, title = not doc.meta.report, nil
  local last = chapter and 1 or 0
  doc = doc:walk({
    Header = function(header)
      if chapter and not title and header.level == 1 then
        title = header.content
        return {}
      end
      last = math.min(header.level, last + 1)
      header.level = chapter and math.max(1, last - 1) or last
      return header
    end,
  })
  if title then doc.meta.title = pandoc.MetaInlines(title) end
  return doc
end

return {
  { CodeBlock = part },
  { CodeBlock = output, RawBlock = raw_block, Inlines = with_tags },
  { Image = image, Math = formula, Inlines = literature },
  { Pandoc = function(doc) return levels(anchors(citations(doc))) end },
}
