-- Cuelens on Brilliant Labs' glasses: draws what it is sent, says so, and goes dark by itself when it hears nothing.
-- Sent, after the firmware's own marker: P seq size(2) begins a picture, D seq ... goes on with it, K keeps it, B is dark.
-- A picture: red green blue, then bitmaps: palette entry, x(2), y(2), width(2), bytes(2), and a bit for each pixel.
-- Answered: R ready, d seq drawn, b dark, k kept, n nothing is left to keep, e what went wrong.
local display, bluetooth = frame.display, frame.bluetooth
local STEP = 0.05 -- seconds; steps are counted, since the glasses' clock may have whole seconds only
local LAST = 30 -- steps after the last word until it is dark: 1.5 seconds
local REST = 200 -- steps in the dark until display and link rest
local MARK = 100 -- steps for which a mark says that the link is gone
local FAST, SLOW = 15, 60 -- milliseconds between two meetings of the link
local LEFT, TOP = 0, 0 -- where a square of 256 pixels begins: Halo's is all there is, Frame's the middle of 640 x 400
if not display.clear then LEFT, TOP = 192, 72 end

local quiet, lit, resting, marked, away = 0, false, false, false, 0
local seq, size, parts, got = nil, 0, {}, 0

local function u16(text, at)
  local high, low = text:byte(at, at + 1)
  return high * 256 + low
end

local function clear()
  if display.clear then display.clear() end
  display.show()
  lit, marked = false, false
end

local function rest(on)
  if resting == on then return end
  resting = on
  pcall(display.power_save, on)
  if bluetooth.connection_interval then pcall(bluetooth.connection_interval, on and SLOW or FAST) end
end

local function draw(picture)
  rest(false)
  if display.clear then display.clear() end
  display.assign_color('WHITE', 230, 230, 230) -- Frame takes entries by name alone; these are 1 and 2
  display.assign_color('GREY', picture:byte(1, 3))
  local at = 4
  while at <= #picture do
    local entry, bytes = picture:byte(at), u16(picture, at + 7)
    local bits = picture:sub(at + 9, at + 8 + bytes)
    local x, y = LEFT + u16(picture, at + 1), TOP + u16(picture, at + 3)
    display.bitmap(x, y, u16(picture, at + 5), 2, entry - 1, bits)
    at = at + 9 + bytes
  end
  display.show()
  lit, marked = true, false
end

local function add(number, text)
  if number ~= seq then return end
  parts[#parts + 1] = text
  got = got + #text
  if got < size then return end
  local picture = table.concat(parts)
  seq, parts, got = nil, {}, 0
  draw(picture)
  bluetooth.send('d' .. string.char(number))
end

local function hear(message)
  local kind = message:sub(1, 1)
  quiet = 0
  if kind == 'P' then
    rest(false)
    seq, size, parts, got = message:byte(2), u16(message, 3), {}, 0
    add(seq, message:sub(5))
  elseif kind == 'D' then
    add(message:byte(2), message:sub(3))
  elseif kind == 'K' then
    bluetooth.send(lit and 'k' or 'n')
  elseif kind == 'B' then
    seq = nil
    clear()
    bluetooth.send('b')
  end
end

bluetooth.receive_callback(function(message)
  local fine, wrong = pcall(hear, message)
  if not fine then pcall(bluetooth.send, 'e' .. tostring(wrong):sub(1, 80)) end
end)
clear()
bluetooth.send('R')

while true do
  frame.sleep(STEP)
  quiet = quiet + 1
  if lit and quiet >= LAST then clear() end
  if not lit and not marked and quiet >= REST then rest(true) end
  if bluetooth.is_connected() then
    away = 0
    if marked then clear() end
  else
    away = away + 1
    if away == 1 and not lit then
      rest(false)
      display.bitmap(LEFT + 108, TOP + 216, 40, 2, 0, string.rep('\255', 20))
      display.show()
      marked, quiet = true, 0
    elseif marked and away >= MARK then
      clear()
    end
  end
end
