// The one connection to the glasses: it reports the age of what it brings, and opens again after silence. It connects to no other host.
"use strict";

const OUTDATED = 2; // seconds after which what was seen is not shown any more, and a silent connection is not believed
const OPENING = 5; // seconds in which a connection brings its first news
const LONGEST_WAIT = 5; // seconds before it is tried again
const SLOW_RETRY = 20; // seconds before one that made room asks for some
const HIDDEN = 30; // seconds after which a page that nobody sees makes room for others
const ANSWER = 10; // seconds for the answer to what was changed here
const MAKE_ROOM = 4001; // edge/web/broadcast.py
const PERSISTENT = 3; // tries that failed while all else is answered: something lets no WebSocket through
const KNOWN = ["full", "foreign", "blocked"]; // why there is none, which stays until it is asked again

const { base, key } = document.body.dataset;
let link = null; // the WebSocket
let linked = "connecting";
let begun = null; // when it was
let asked = null; // when the glasses were asked for what comes next
let spoke = false; // they have, over this one
let heard = null; // when they last did, null before
let late = 0; // seconds for which that was under way, at most
let tries = 0;
let retry = 0; // the timer

// A phone that sleeps stops the one clock, and somebody may set the other: the longer time counts.
function instant() {
  return { steady: performance.now(), wall: Date.now() };
}

function since(then) {
  return Math.max(performance.now() - then.steady, Date.now() - then.wall) / 1000;
}

// Seconds since the newest message was sent, whichever side or network is slow.
function silence() {
  return heard ? since(heard) + late : Infinity;
}

function connect(waits = false) {
  clearTimeout(retry);
  const address = new URL(`${base}news`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams(waits ? { key, room: "" } : { key });
  const socket = new WebSocket(address);
  link = socket;
  begun = asked = instant();
  spoke = false;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { if (link === socket && at("show-picture").checked) socket.send("picture on"); };
  socket.onmessage = (event) => { if (link === socket) receive(event); };
  socket.onclose = (event) => { if (link === socket) leave(event.code); };
}

// Takes a message's time, before anything else is done with it.
function hear(held) {
  late = Math.max(0, since(asked) - held);
  heard = instant();
  spoke = true;
  tries = 0;
  setLink(late > OUTDATED ? "slow" : "connected");
}

function taken(socket) {
  if (link !== socket || socket.readyState !== WebSocket.OPEN) return;
  asked = instant();
  socket.send("taken");
}

function drop() {
  const old = link;
  link = null; // it is not listened to any more, whatever still comes
  clearTimeout(retry);
  if (old) old.close();
}

function leave(code) {
  drop();
  if (code === MAKE_ROOM) {
    wait("full", SLOW_RETRY, true);
  } else {
    const known = KNOWN.includes(linked);
    wait(known ? linked : "lost", known ? LONGEST_WAIT : tries ? Math.min(LONGEST_WAIT, 0.25 * 2 ** tries) : 0);
    if (tries > 1) ask();
  }
}

function wait(state, seconds, waits = false) {
  setLink(state);
  tries += 1;
  clearTimeout(retry);
  retry = setTimeout(() => { if (!document.hidden && !link) connect(waits); }, 1000 * seconds);
  showCue();
}

// Why there is no connection: signed out, as after a restart of the glasses; an address that they do not know; no room.
async function ask() {
  const status = await post("session", {}).then((answer) => answer.status, () => 0);
  if (link && spoke) return; // meanwhile there is one
  if (status === 401) location.replace(`${base}login`);
  else if (status === 204) setLink(tries > PERSISTENT ? "blocked" : linked);
  else setLink(status === 403 ? "foreign" : status === 503 ? "full" : "lost");
}

// Seconds without a word over this connection.
function quiet() {
  return since(spoke ? heard : begun);
}

// Seconds without a word that a connection which works may take: over a slow line every answer takes as long as the first.
function patience() {
  return spoke && linked !== "slow" ? OUTDATED : OPENING;
}

// A connection without a word is dead, whatever the browser thinks: the glasses speak twice a second.
function watch() {
  if (link && quiet() > patience()) leave(0);
}

// Somebody looks at the page again, or the network is back.
function wake() {
  if (document.hidden || (link && quiet() <= patience())) return;
  drop();
  tries = 0;
  if (linked === "connected" || linked === "slow") setLink("lost");
  connect();
}

function rest() {
  drop();
  setLink("lost");
  showCue();
}

async function post(path, values) {
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), 1000 * ANSWER);
  try {
    return await fetch(base + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Cuelens-Key": key },
      body: JSON.stringify(values),
      signal: ending.signal,
    });
  } finally {
    clearTimeout(timer);
  }
}

let resting = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(resting);
  if (document.hidden) resting = setTimeout(rest, 1000 * HIDDEN);
  showCue();
  wake();
});
addEventListener("pagehide", rest); // a page that is kept for "back" shows nothing old when it comes back
addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
for (const event of ["focus", "online", "pointerdown"]) addEventListener(event, wake);
