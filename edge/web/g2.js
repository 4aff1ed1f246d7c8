// Shows the cue on Even G2: its picture goes to the app that this page runs in, and beside that onto the page.
"use strict";

const at = (id) => document.getElementById(id);

const GLYPH = { containerID: 2, containerName: "cue" };
const PICTURE = { xPosition: 144, yPosition: 72, width: 288, height: 144 }; // pixels; the app takes no larger picture
const NOTHING = "";

let texts = JSON.parse(document.body.dataset.texts);
let news = null;
let shown = null; // the key of what the glasses show, null where nobody knows
let busy = false;
let opened = false; // the app has made our page on the glasses
let dark = null; // the picture of nothing, fetched while there is a connection: it is needed when there is none

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setLink(state) {
  linked = state;
  const up = state === "connected" || state === "slow";
  at("link").dataset.link = up || state === "connecting" ? state : "lost";
  say(at("link"), texts[state] || texts.lost);
}

function receive(event) {
  const message = JSON.parse(event.data);
  news = message.news;
  hear(message.held);
  if (message.page) texts = message.page.texts;
  taken(event.target);
  showCue();
}

// Returns the key of a picture, NOTHING where what is known is too old to be shown.
function wanted() {
  const silent = silence();
  if (!news || news.sentence === undefined || silent > OUTDATED || document.hidden) return NOTHING;
  if (!news.lasts && news.age + silent > OUTDATED) return NOTHING;
  return JSON.stringify([news.state, news.glyph, news.word, news.side]);
}

async function showCue() {
  const key = wanted();
  say(at("sentence"), key === NOTHING ? texts.stale : news.sentence);
  if (busy || key === shown) return;
  busy = true;
  try {
    dark = dark || await load("g2/dark.png");
    const picture = key === NOTHING ? dark : await load("g2/picture.png");
    await draw(picture);
    await showOnGlasses(picture);
    shown = key;
  } catch {
    shown = null; // tried again with the next look
  } finally {
    busy = false;
  }
}

async function load(path) {
  const answer = await fetch(base + path);
  if (!answer.ok) throw new Error(answer.status);
  return new Uint8Array(await answer.arrayBuffer());
}

async function draw(bytes) {
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const pen = at("canvas").getContext("2d");
  pen.globalCompositeOperation = "source-over";
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, 576, 288);
  pen.drawImage(picture, PICTURE.xPosition, PICTURE.yPosition);
  picture.close();
  pen.globalCompositeOperation = "multiply"; // the glasses' one colour
  pen.fillStyle = "#3f6";
  pen.fillRect(0, 0, 576, 288);
}

// The app has a handler of this name; without the app this is a page like another.
function call(method, data) {
  const app = window.flutter_inappwebview;
  if (!app) return null;
  return app.callHandler("evenAppMessage", JSON.stringify({ type: "call_even_app_method", method, data }));
}

async function showOnGlasses(bytes) {
  if (!opened) {
    const touch = { containerID: 1, containerName: "touch", xPosition: 0, yPosition: 0, width: 576, height: 288 };
    await call("createStartUpPageContainer", {
      containerTotalNum: 2,
      textObject: [{ ...touch, content: " ", isEventCapture: 1 }], // one must take touches
      imageObject: [{ ...GLYPH, ...PICTURE }],
    });
    opened = true;
  }
  await call("updateImageRawData", { ...GLYPH, imageData: Array.from(bytes) });
}

setLink(linked);
setInterval(() => { watch(); showCue(); }, 250);
connect();
