-- Figures, tables and cross-references of the report, for HTML and Typst alike.
--
-- A Div .figure (attributes alt, berkas, lebar; content: the caption) and a Div .table (content: a table and a Div
-- .keterangan) become numbered blocks; their attributes sumber (results file and keys) and halaman (a page that shows
-- them too) become a link behind the caption on the screen. A link to #fig-…, #tbl-… or #sec-… gets the number of its
-- target. From the first heading .lampiran on chapters are lettered; a heading .melintang sets its section on landscape
-- paper.

local html = FORMAT:match("html") ~= nil
local stringify, to_inlines = pandoc.utils.stringify, pandoc.utils.blocks_to_inlines
local NAMES = { figure = "Gambar", table = "Tabel" }
local NUMBERED = { fig = true, tbl = true, sec = true }
-- A table of so many columns, or of columns that need so many letters, is wide: it may use the margin on the screen and
-- is set smaller on paper, where a line holds so many.
local WIDE, WIDE_LETTERS, UPRIGHT, TURNED = 7, 80, 112, 178
local number, counts = {}, { figure = 0, table = 0, formula = 0 }
local levels, appendix, landscape = { 0, 0, 0, 0, 0, 0 }, false, false

local function quoted(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", " ") .. '"'
end

local function attribute(text)
  return (text:gsub("&", "&amp;"):gsub('"', "&quot;"):gsub("<", "&lt;"):gsub(">", "&gt;"))
end

local function raw(text)
  return pandoc.RawBlock(html and "html" or "typst", text)
end

-- Pass 1: give every figure, table and section its number, in reading order.
local count = {
  traverse = "topdown",
  Header = function(header)
    if header.classes:includes("unnumbered") then return nil end
    if header.classes:includes("lampiran") then appendix, levels[1] = true, 0 end
    levels[header.level] = levels[header.level] + 1
    for deeper = header.level + 1, 6 do levels[deeper] = 0 end
    local chapter = appendix and string.char(64 + levels[1]) or levels[1]
    number[header.identifier] = table.concat({ chapter, table.unpack(levels, 2, header.level) }, ".")
  end,
  Div = function(div)
    for kind in pairs(NAMES) do
      if div.classes:includes(kind) then
        counts[kind] = counts[kind] + 1
        number[div.identifier] = tostring(counts[kind])
      end
    end
  end,
}

-- A heading with its number on the screen; on paper, where Typst counts, the page that it asks for.
local function heading(header)
  local of = number[header.identifier]
  if html then
    if not of then return nil end
    local shown = pandoc.Span({ pandoc.Str(of) }, { class = "header-section-number" })
    header.content = pandoc.Inlines({ shown, pandoc.Space() }) .. header.content
    return header
  end
  local blocks, turned = pandoc.Blocks({ header }), header.classes:includes("melintang")
  if header.classes:includes("lampiran") then blocks:insert(1, raw("#show: lampiran")) end
  if header.level == 1 and turned ~= landscape then
    blocks:insert(1, raw("#set page(.." .. (turned and "melintang" or "tegak") .. ")"))
    landscape = turned
  end
  return blocks
end

-- The caption, and behind it on the screen where the numbers stand; Typst counts figures and tables itself.
local function captioned(kind, div, blocks)
  local inlines, source = to_inlines(blocks), div.attributes.sumber
  if not html then return pandoc.Plain(inlines) end
  local lead = NAMES[kind] .. " " .. number[div.identifier] .. "."
  inlines = pandoc.Inlines({ pandoc.Span({ pandoc.Str(lead) }, { class = "nomor" }), pandoc.Space() }) .. inlines
  if source then
    source = attribute(source)
    local link = '<a class="sumber" href="' .. attribute(div.attributes.halaman) .. '" title="' .. source .. '">'
    inlines:insert(pandoc.RawInline("html", "\n <small>" .. link .. "sumber: " .. source .. "</a></small>"))
  end
  return pandoc.Plain(inlines)
end

local function rows_of(grid)
  local rows = pandoc.List({})
  for _, body in ipairs(grid.bodies) do rows:extend(body.body) end
  return rows
end

-- A number and an interval are each read as one: a cell that begins with a number is broken before its bracket only.
local function unbroken(cell)
  local text = stringify(cell.contents)
  if #cell.contents ~= 1 or not text:match("^[+−–%d]") or utf8.len(text) > 40 then return end
  local content = cell.contents[1].content
  local function whole(from, to)
    local part = pandoc.Inlines({ table.unpack(content, from, to) })
    if html then return pandoc.Inlines({ pandoc.Span(part, { class = "utuh" }) }) end
    return part:map(function(inline) return inline.t == "Space" and pandoc.Str("\u{a0}") or inline end)
  end
  local _, bracket = content:find_if(function(inline) return (inline.text or ""):match("^%(") end, 2)
  local parts = bracket and whole(1, bracket - 2) .. { pandoc.Space() } .. whole(bracket) or whole(1)
  cell.contents = { pandoc.Plain(parts) }
end

local function longest_word(text)
  local longest = 0
  for word in text:gmatch("%S+") do longest = math.max(longest, utf8.len(word)) end
  return longest
end

-- Whether a table is wide, and the share of the width that each column of a wide one gets on paper: its longest number,
-- or the longest word and, where the line has room, more of its words, in all columns as many letters.
local function measured(grid)
  local function wanted(letters)
    local widths, all = {}, 0
    for place, row in ipairs(grid.head.rows .. rows_of(grid)) do
      for i, cell in ipairs(row.cells) do
        local text = stringify(cell.contents)
        local most = text:match("^[+−–%d]") and letters + 6 or place > 1 and letters or 0
        widths[i] = math.max(widths[i] or 3, longest_word(text) + 2, math.min(utf8.len(text), most) + 2)
      end
    end
    for _, width in ipairs(widths) do all = all + width end
    return all, grid.colspecs:map(function(spec, i) return { spec[1], widths[i] / all } end)
  end
  local letters, room = 14, landscape and TURNED or UPRIGHT
  local wide = #grid.colspecs >= WIDE or wanted(letters) > WIDE_LETTERS
  while letters < room and wanted(letters + 1) <= room do letters = letters + 1 end
  return wide, select(2, wanted(letters))
end

local function figure(div)
  local id, file, alt = div.identifier, div.attributes.berkas, div.attributes.alt
  local width = div.attributes.lebar or "100%"
  if html then
    local picture = '<img src="' .. file .. '" alt="' .. attribute(alt) .. '" style="width:' .. width .. '">'
    -- On a phone a picture as wide as the page scrolls in its box, which the keyboard reaches.
    local box = '<div class="gulir gambar' .. (width == "100%" and " penuh" or "") .. '" role="region" tabindex="0"'
    box = box .. ' aria-label="Gambar ' .. number[id] .. '">'
    return {
      raw('<figure id="' .. id .. '">' .. box .. picture .. "</div><figcaption>"),
      captioned("figure", div, div.content),
      raw("</figcaption></figure>"),
    }
  end
  local picture = "image(" .. quoted(file) .. ", width: " .. width .. ", alt: " .. quoted(alt) .. ")"
  return {
    raw("#figure(" .. picture .. ", caption: ["),
    captioned("figure", div, div.content),
    raw("]) <" .. id .. ">"),
  }
end

local function tabular(div)
  local id, grid, caption = div.identifier, nil, nil
  for _, block in ipairs(div.content) do
    if block.t == "Table" then grid = block end
    if block.t == "Div" and block.classes:includes("keterangan") then caption = block.content end
  end
  if not (grid and caption) then error("tabel #" .. id .. " tanpa isi atau keterangan") end
  for _, row in ipairs(rows_of(grid)) do
    for _, cell in ipairs(row.cells) do unbroken(cell) end
  end
  local wide, specs = measured(grid)
  if html then
    -- The first cell of a row names it; a screen reader says it with each number.
    for _, body in ipairs(grid.bodies) do body.row_head_columns = 1 end
    -- The caption stands outside the box that scrolls: it stays in sight beside a wide table.
    local label = ' role="region" tabindex="0" aria-label="Tabel ' .. number[id] .. '">'
    return {
      raw('<figure class="tabel' .. (wide and " lebar" or "") .. '" id="' .. id .. '"><figcaption>'),
      captioned("table", div, caption),
      raw('</figcaption><div class="gulir"' .. label),
      grid,
      raw("</div></figure>"),
    }
  end
  grid.caption, grid.identifier = { long = { captioned("table", div, caption) } }, id
  if wide then grid.colspecs = specs end
  return { raw(wide and "#[\n#show: rapat" or "#["), grid, raw("]") }
end

local function code(block)
  if not block.classes:includes("kode") then return nil end
  local shown = pandoc.CodeBlock(block.text)
  if not html then return shown end
  local open = block.classes:includes("terbuka") and " open" or ""
  return { raw('<details class="kode"' .. open .. "><summary>Kode</summary>"), shown, raw("</details>") }
end

-- An answer or a hint: folded on the screen, set apart on paper.
local function fold(div)
  local title = div.attributes.judul
  local opening = { raw('<details class="lipat"><summary>' .. attribute(title) .. "</summary>") }
  if not html then opening = { raw("#lipat["), pandoc.Para({ pandoc.Strong({ pandoc.Str(title .. ".") }) }) } end
  return pandoc.Blocks(opening) .. div.content .. { raw(html and "</details>" or "]") }
end

local function reference(link)
  -- A file beside the HTML is not beside a printed page.
  if not html and not link.target:match("^#") and not link.target:match("^%a+:") then return link.content end
  local id, kind = link.target:match("^#((%l+)%-.+)$")
  if not NUMBERED[kind] then return nil end
  local text = link.content:clone()
  text:insert(pandoc.Str("\u{a0}" .. number[id]))
  return pandoc.Link(text, link.target)
end

-- PDF/UA wants a text: its TeX source. A browser sets a decimal comma wide and a function close, unlike TeX and Typst.
local function formula(math)
  local text = math.text:gsub("{,}", "\\text{,}"):gsub("\\log", "\\,%0\\,"):gsub("\\exp", "\\,%0")
  if html then return pandoc.Math(math.mathtype, text) end
  local source = pandoc.write(pandoc.Pandoc({ pandoc.Plain({ math }) }), "typst"):gsub("%s+$", "")
  return pandoc.RawInline("typst", "#{ set math.equation(alt: " .. quoted(math.text) .. "); " .. source .. " }")
end

-- A formula of its own may be wider than a phone: it scrolls in a region that the keyboard reaches.
local function display_formula(para)
  local math = #para.content == 1 and para.content[1]
  if not html or not math or math.t ~= "Math" or math.mathtype ~= "DisplayMath" then return nil end
  counts.formula = counts.formula + 1 -- each region has a name of its own
  local box = '<div class="gulir rumus" role="region" tabindex="0" aria-label="Rumus ' .. counts.formula .. '">'
  return { raw(box), pandoc.Plain(para.content), raw("</div>") }
end

return {
  count,
  {
    Div = function(div)
      if div.classes:includes("figure") then return figure(div) end
      if div.classes:includes("table") then return tabular(div) end
      if div.classes:includes("lipat") then return fold(div) end
    end,
    Header = heading,
    Para = display_formula,
    CodeBlock = code,
    Link = reference,
    Math = formula,
  },
}
