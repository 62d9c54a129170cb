-- Figures, tables and cross-references of the report, for HTML and Typst alike.
--
-- A Div .figure (attributes alt, berkas, lebar; content: the caption) and a Div .table (content: a table and a Div .keterangan)
-- become numbered blocks; their attributes sumber (results file and keys) and halaman (a page that shows them too) become a
-- small note behind the caption. A link to #fig-…, #tbl-… or #sec-… gets the number of its target. An id that is unknown or given
-- twice is an error.

local html = FORMAT:match("html") ~= nil
local NAMES = { figure = "Gambar", table = "Tabel" }
local PREFIX = { figure = "fig-", table = "tbl-" }
local LONGEST_WHOLE = 12 -- lines; a longer table may be broken over two pages, its head repeated
local LINE = 95 -- letters of a row that stand side by side on paper
-- A table of so many columns, or of columns whose longest words need so many letters, is wide: it may use the margin on the screen
-- and is set smaller on paper.
local WIDE, WIDE_LETTERS = 7, 72
local number, seen, counts = {}, {}, { figure = 0, table = 0, formula = 0 }
local levels = { 0, 0, 0, 0, 0, 0 }

local function claim(id)
  if seen[id] then error("id #" .. id .. " dipakai dua kali") end
  seen[id] = true
end

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
    if header.identifier ~= "" then claim(header.identifier) end
    if header.classes:includes("unnumbered") then return nil end
    levels[header.level] = levels[header.level] + 1
    for deeper = header.level + 1, 6 do levels[deeper] = 0 end
    number[header.identifier] = table.concat(levels, ".", 1, header.level)
  end,
  Div = function(div)
    for kind in pairs(NAMES) do
      if div.classes:includes(kind) then
        claim(div.identifier)
        if div.identifier:sub(1, 4) ~= PREFIX[kind] then
          error("id #" .. div.identifier .. " harus diawali " .. PREFIX[kind])
        end
        counts[kind] = counts[kind] + 1
        number[div.identifier] = tostring(counts[kind])
      end
    end
  end,
}

local function caption_html(kind, id, caption)
  local lead = pandoc.Span({ pandoc.Str(NAMES[kind] .. " " .. number[id] .. ".") }, { class = "nomor" })
  return pandoc.Plain(pandoc.Inlines({ lead, pandoc.Space() }) .. pandoc.utils.blocks_to_inlines(caption))
end

local function source_html(div)
  if not div.attributes.sumber then return pandoc.Plain({}) end
  local source, page = attribute(div.attributes.sumber), attribute(div.attributes.halaman)
  return raw(' <small><a class="sumber" href="' .. page .. '" title="' .. source .. '">sumber: ' .. source .. "</a></small>")
end

local function source_typst(div)
  local source = div.attributes.sumber
  if not source then return {} end
  return { pandoc.RawInline("typst", " #text(size: 7.5pt)[sumber: #" .. quoted(source) .. "]") }
end

local function rows_of(grid)
  local rows = pandoc.List({})
  for _, body in ipairs(grid.bodies) do rows:extend(body.body) end
  return rows
end

local function longest_word(cell)
  local longest = 0
  for word in pandoc.utils.stringify(cell.contents):gmatch("%S+") do longest = math.max(longest, utf8.len(word)) end
  return longest
end

-- A number and an interval are each read as one: a cell that begins with a number is broken before its bracket only.
local function unbroken(grid)
  local function whole(inlines)
    if html then return { pandoc.Span(inlines, { class = "utuh" }) } end
    return inlines:map(function(one) return one.t == "Space" and pandoc.Str("\u{a0}") or one end)
  end
  local function mend(cell)
    local text = pandoc.utils.stringify(cell.contents)
    if #cell.contents ~= 1 or not text:match("^[+−–%d]") or utf8.len(text) > 40 then return end
    local value, bracket = pandoc.Inlines({}), pandoc.Inlines({})
    for _, one in ipairs(cell.contents[1].content) do
      local inside = #bracket > 0 or (#value > 0 and one.t == "Str" and one.text:match("^%("))
      ;(inside and bracket or value):insert(one)
    end
    if #bracket > 0 then value:remove() end -- the space between them, where the line may break
    local mended = pandoc.Inlines(whole(value))
    if #bracket > 0 then mended:insert(pandoc.Space()); mended:extend(whole(bracket)) end
    cell.contents = { pandoc.Plain(mended) }
  end
  for _, row in ipairs(rows_of(grid)) do
    for _, cell in ipairs(row.cells) do mend(cell) end
  end
end

-- On paper a wide table's columns share the width by their longest number or, for words, their longest word or 14 letters.
local function share_width(grid)
  local wanted, sum, specs = {}, 0, {}
  local function want(i, width) wanted[i] = math.max(wanted[i] or 3, width) end
  for _, row in ipairs(rows_of(grid)) do
    for i, cell in ipairs(row.cells) do
      local text = pandoc.utils.stringify(cell.contents)
      want(i, math.max(longest_word(cell), math.min(utf8.len(text), text:match("^[+−–%d]") and 20 or 14)))
    end
  end
  for _, row in ipairs(grid.head.rows) do
    for i, cell in ipairs(row.cells) do want(i, longest_word(cell)) end
  end
  for i = 1, #grid.colspecs do sum = sum + wanted[i] + 2 end
  for i, spec in ipairs(grid.colspecs) do specs[i] = { spec[1], (wanted[i] + 2) / sum } end
  grid.colspecs = specs
end

local function is_wide(grid)
  local longest, sum = {}, 0
  for _, row in ipairs(rows_of(grid)) do
    for i, cell in ipairs(row.cells) do longest[i] = math.max(longest[i] or 0, longest_word(cell)) end
  end
  for i = 1, #grid.colspecs do sum = sum + (longest[i] or 0) + 2 end
  return #grid.colspecs >= WIDE or sum > WIDE_LETTERS
end

-- About how many lines the rows of a table take on paper.
local function lines(grid)
  local sum = 0
  for _, row in ipairs(rows_of(grid)) do
    local letters = 0
    for _, cell in ipairs(row.cells) do letters = letters + utf8.len(pandoc.utils.stringify(cell.contents)) end
    sum = sum + math.max(1, math.ceil(letters / LINE))
  end
  return sum
end

local function figure(div)
  local id, file, alt = div.identifier, div.attributes.berkas, div.attributes.alt
  local width = div.attributes.lebar or "100%"
  if html then
    return {
      raw('<figure id="' .. id .. '"><img src="' .. file .. '" alt="' .. attribute(alt)
        .. '" style="width:' .. width .. '"><figcaption>'),
      caption_html("figure", id, div.content),
      source_html(div),
      raw("</figcaption></figure>"),
    }
  end
  -- The summary is read from top to bottom; a figure that floats never comes before the words that name it.
  local placement = id == "fig-ringkasan" and "none" or "bottom"
  return {
    raw("#metadata(" .. quoted(id) .. ") <sebutan-gambar>"),
    raw("#figure(image(" .. quoted(file) .. ", width: " .. width .. ", alt: " .. quoted(alt) .. "), placement: " .. placement .. ", caption: ["),
    pandoc.Plain(pandoc.utils.blocks_to_inlines(div.content) .. source_typst(div)),
    raw("#metadata(" .. quoted(id) .. ") <letak-gambar>]) <" .. id .. ">"),
  }
end

local function tabular(div)
  local id, grid, caption = div.identifier, nil, nil
  for _, block in ipairs(div.content) do
    if block.t == "Table" then grid = block end
    if block.t == "Div" and block.classes:includes("keterangan") then caption = block.content end
  end
  if not (grid and caption) then error("tabel #" .. id .. " tanpa isi atau keterangan") end
  local wide = is_wide(grid)
  unbroken(grid)
  if html then
    -- The first cell of a row names it; a screen reader says it with each number.
    for _, body in ipairs(grid.bodies) do body.row_head_columns = 1 end
    -- The caption stands outside the box that scrolls: it stays in sight beside a wide table.
    return {
      raw('<figure class="tabel' .. (wide and " lebar" or "") .. '" id="' .. id .. '"><figcaption>'),
      caption_html("table", id, caption),
      source_html(div),
      raw('</figcaption><div class="gulir" role="region" tabindex="0" aria-label="Tabel '
        .. number[id] .. '">'),
      grid,
      raw("</div></figure>"),
    }
  end
  grid.caption = { long = { pandoc.Plain(pandoc.utils.blocks_to_inlines(caption) .. source_typst(div)) } }
  grid.identifier = id
  local set = "#[\n"
  if lines(grid) * (wide and 2 or 1) > LONGEST_WHOLE then set = set .. "#show figure.where(kind: table): set block(breakable: true)\n" end
  if wide then
    share_width(grid)
    set = "#block(above: 1.6em, below: 1.6em)[#pad(x: -8mm)[\n" .. set:sub(4) .. "#show table: set text(7.2pt)\n#set table(inset: (x: 2.5pt, y: 3.6pt))\n"
  end
  return { raw(set), grid, raw(wide and "]]" or "]") }
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
  local title, blocks = div.attributes.judul, pandoc.Blocks({})
  if html then
    blocks:insert(raw('<details class="lipat"><summary>' .. attribute(title) .. "</summary>"))
  else
    blocks:insert(raw("#block(inset: (left: 4mm), stroke: (left: 0.8pt + luma(75%)))["))
    blocks:insert(pandoc.Para({ pandoc.Strong({ pandoc.Str(title .. ".") }) }))
  end
  blocks:extend(div.content)
  blocks:insert(raw(html and "</details>" or "]"))
  return blocks
end

local function reference(link)
  -- A file beside the HTML is not beside a printed page.
  if not html and not link.target:match("^#") and not link.target:match("^%a+:") then return link.content end
  local id = link.target:match("^#([a-z]+%-.+)$")
  if not id or not id:match("^fig%-") and not id:match("^tbl%-") and not id:match("^sec%-") then return nil end
  if not number[id] then error("rujukan ke #" .. id .. " tidak bertujuan") end
  local text = link.content:clone()
  text:insert(pandoc.Str("\u{a0}" .. number[id]))
  return pandoc.Link(text, link.target)
end

-- PDF/UA wants a text for each formula; its TeX source is what a reader of formulas knows.
local function formula(math)
  if html then return nil end
  local source = pandoc.write(pandoc.Pandoc({ pandoc.Plain({ math }) }), "typst"):gsub("%s+$", "")
  return pandoc.RawInline("typst", "#{ set math.equation(alt: " .. quoted(math.text) .. "); " .. source .. " }")
end

-- A formula of its own may be wider than a phone: it scrolls in a region that the keyboard reaches.
local function display_formula(para)
  if not html or #para.content ~= 1 or para.content[1].t ~= "Math" or para.content[1].mathtype ~= "DisplayMath" then return nil end
  counts.formula = counts.formula + 1 -- each region has a name of its own
  local box = '<div class="gulir rumus" role="region" tabindex="0" aria-label="Rumus ' .. counts.formula .. '">'
  return { raw(box), pandoc.Plain(para.content), raw("</div>") }
end

-- A notebook's first heading is the document's title and stands in the template.
local function drop_title(doc)
  if doc.meta.report then return doc end
  local kept, dropped = pandoc.Blocks({}), false
  for _, block in ipairs(doc.blocks) do
    if not dropped and block.t == "Header" and block.level == 1 then
      dropped = true
    else
      if block.t == "Header" then block.level = math.max(1, block.level - 1) end
      kept:insert(block)
    end
  end
  doc.blocks = kept
  return doc
end

return {
  { Pandoc = drop_title },
  count,
  {
    Div = function(div)
      if div.classes:includes("figure") then return figure(div) end
      if div.classes:includes("table") then return tabular(div) end
      if div.classes:includes("lipat") then return fold(div) end
    end,
    Para = display_formula,
    CodeBlock = code,
    Link = reference,
    Math = formula,
  },
}
