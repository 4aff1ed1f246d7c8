// Shows what the glasses send over the connection of link.js, and sends what is changed here. It keeps nothing.
"use strict";

const at = (id) => document.getElementById(id);

let texts = JSON.parse(document.body.dataset.texts);
let news = null;
let header = null; // of the picture whose bytes come next
let pictured = null; // when the newest was drawn
let settingsVersion = 0; // of the settings on the page
let settingsLink = null; // the connection that brought them
let refusal = ""; // why a search, or a pairing, did not begin
const ELSEWHERE = 409; // somebody else changed it meanwhile
const fields = new Map(); // by table and key: what is on the page for a setting

function say(element, text) {
  if (element.textContent !== text) element.textContent = text; // a screen reader hears of changes only
}

function fill(text, n) {
  return text.replace("{n}", n);
}

function orDash(value, unit = "") {
  return value === undefined ? "–" : value + unit;
}

function setLink(state) {
  linked = state;
  const up = state === "connected" || state === "slow";
  at("link").dataset.link = up || state === "connecting" ? state : "lost";
  say(at("link"), texts[state] || texts.lost);
  const note = texts[`${state}_note`] || "";
  say(at("why"), note.replace("{name}", location.origin + location.pathname.replace(/\/[^/]*$/, "")));
  at("pause").disabled = !up || !news;
}

async function receive(event) {
  try {
    if (typeof event.data === "string") {
      const message = JSON.parse(event.data);
      news = message.news; // before its time: what is shown is never newer than it is
      hear(message.held);
      if (message.page) showPage(message.page);
      showNews();
      header = message.picture || null;
      if (header) return; // its bytes come next
    } else if (header) {
      await drawPicture(event.data, header);
    }
  } finally {
    if (!header || typeof event.data !== "string") taken(event.target);
  }
}

function showNews() {
  at("pause").disabled = false;
  at("pause").dataset.paused = news.paused;
  say(at("pause"), news.paused ? texts.resume : texts.pause);
  showCue();
}

// Never a frozen label: what is older than OUTDATED is taken away, whichever side stopped sending.
function showCue() {
  const silent = silence();
  const age = news && news.age !== null ? news.age + silent : null;
  const known = news && news.sentence !== undefined;
  const stale = known && (silent > OUTDATED || (!news.lasts && age > OUTDATED));
  const shown = known && !stale && !document.hidden ? news : null;
  if (shown) at("cue").style.setProperty("--accent", shown.colour);
  at("cue").dataset.side = (shown && shown.side) || "";
  const glyph = shown ? shown.glyph : "";
  if (at("glyph").dataset.shown !== glyph) {
    at("glyph").dataset.shown = glyph;
    at("glyph").innerHTML = glyph; // lines and circles of our own server
  }
  say(at("word"), shown ? shown.word : "");
  say(at("sentence"), shown ? shown.sentence : stale ? texts.stale : texts.waiting);
  const old = stale && age !== null && Number.isFinite(silent);
  say(at("stale-for"), old ? fill(texts.stale_for, Math.floor(Math.max(age, silent))) : "");
  say(at("partner"), shown ? shown.partner : "");
  say(at("state"), shown ? shown.state : "–");
  say(at("age"), age === null || !Number.isFinite(age) ? "–" : age > OUTDATED ? fill(texts.age_ago, Math.floor(age)) : texts.age_now);
  showRun(silent <= OUTDATED ? news : {}, age !== null && age > OUTDATED && !news.lasts);
  showPairing(silent <= OUTDATED && news ? news.pairing : null);
  if (pictured && (!shown || since(pictured) > OUTDATED)) hidePicture();
}

// Numbers of a run that is not heard of are old labels too.
function showRun(run, stands) {
  say(at("fps"), orDash(stands ? undefined : run.fps));
  say(at("p50"), orDash(run.p50, "\u00a0ms"));
  say(at("p95"), orDash(run.p95, "\u00a0ms"));
  say(at("dropped"), orDash(run.dropped));
  showSinks(run.sinks || []);
}

function showSinks(sinks) {
  const list = at("sinks");
  while (list.children.length > sinks.length) list.lastChild.remove();
  sinks.forEach((sink, index) => {
    let item = list.children[index];
    if (!item) {
      item = document.createElement("li");
      item.append(document.createElement("b"), document.createElement("span"));
      item.append(document.createElement("small"), document.createElement("small"));
      list.append(item);
    }
    const [name, state, worn, error] = item.children;
    item.dataset.state = sink.state;
    say(name, sink.name);
    say(state, sink.says);
    say(worn, sink.worn || "");
    say(error, sink.state === "working" ? "" : sink.error);
    for (const small of [worn, error]) small.hidden = !small.textContent;
  });
}

// What was found by a search that is not heard of any more may be gone too.
function showPairing(pairing) {
  at("glasses").hidden = !pairing;
  if (!pairing) return;
  const busy = pairing.state === "searching" || pairing.state === "pairing";
  at("search").disabled = busy;
  const list = at("found");
  const shown = JSON.stringify(pairing.found);
  if (list.dataset.shown !== shown) {
    list.dataset.shown = shown;
    list.replaceChildren(...pairing.found.map(makeFound));
  }
  for (const button of list.querySelectorAll("button")) {
    button.disabled = busy;
    say(button, fillName(texts.pair, button.dataset.name));
  }
  const none = pairing.state === "found" && !pairing.found.length;
  say(at("pairing"), pairing.state === "failed" || pairing.state === "idle" ? ""
    : fillName(texts[none ? "pairing.none" : `pairing.${pairing.state}`], pairing.name));
  say(at("pairing-error"), refusal || pairing.error);
}

function fillName(text, name) {
  return text.replace("{name}", () => name); // a name may have a dollar sign
}

function makeFound(glasses) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.name = glasses.name;
  button.addEventListener("click", () => askFor("glasses/pair", { address: glasses.address }));
  item.append(button);
  return item;
}

async function askFor(path, values) {
  refusal = (await send(path, values))[1];
  say(at("pairing-error"), refusal);
}

async function drawPicture(bytes, layout) {
  const canvas = at("canvas");
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  if (!at("show-picture").checked || silence() > OUTDATED || document.hidden) return;
  if (canvas.width !== layout.width || canvas.height !== layout.height) {
    canvas.width = layout.width;
    canvas.height = layout.height;
  }
  canvas.hidden = false;
  at("no-picture").hidden = true;
  const unit = layout.width / canvas.clientWidth; // pixels of the picture to one of the page
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  picture.close();
  pen.lineWidth = 2 * unit;
  pen.lineJoin = "round";
  pen.font = `600 ${15 * unit}px system-ui, sans-serif`;
  pen.textAlign = "center";
  for (const face of layout.faces) {
    pen.save();
    pen.translate(face.x, face.y);
    pen.rotate((face.roll_deg * Math.PI) / 180);
    pen.strokeStyle = "#000";
    pen.strokeRect(-face.width / 2 - 2 * unit, -face.height / 2 - 2 * unit, face.width + 4 * unit, face.height + 4 * unit);
    pen.strokeStyle = "#fff";
    pen.strokeRect(-face.width / 2, -face.height / 2, face.width, face.height);
    pen.restore();
    const below = Math.min(face.y + face.height / 2 + 20 * unit, layout.height - 6 * unit);
    pen.lineWidth = 4 * unit;
    pen.strokeStyle = "#000";
    pen.strokeText(face.says, face.x, below);
    pen.fillStyle = "#fff";
    pen.fillText(face.says, face.x, below);
    pen.lineWidth = 2 * unit;
  }
  pictured = instant();
}

function hidePicture() {
  pictured = null;
  at("canvas").hidden = true;
  at("no-picture").hidden = !at("show-picture").checked;
}

function showTexts() {
  for (const element of document.querySelectorAll("[data-text]")) {
    if (element.id !== "pause") say(element, texts[element.dataset.text]);
  }
  setLink(linked);
}

function showPage(page) {
  texts = page.texts;
  settingsVersion = page.version;
  if (settingsLink !== link) for (const field of fields.values()) field.version = 0; // after a restart they are counted anew
  settingsLink = link;
  document.documentElement.lang = page.language;
  showTexts();
  say(at("saved"), "");
  at("picture").hidden = !page.pictures;
  at("settings").hidden = false;
  for (const group of page.groups) {
    for (const advanced of [false, true]) {
      const members = group.fields.filter((field) => field.advanced === advanced);
      if (members.length) showGroup(group.title, members, advanced);
    }
  }
}

function showGroup(title, members, advanced) {
  const id = `group-${members[0].table}-${advanced ? "advanced" : "plain"}`;
  let set = at(id);
  if (!set) {
    set = document.createElement("fieldset");
    set.id = id;
    set.append(document.createElement("legend"));
    at(advanced ? "advanced-groups" : "groups").append(set);
  }
  say(set.querySelector("legend"), title);
  for (const member of members) {
    const name = `${member.table}.${member.key}`;
    if (!fields.has(name)) fields.set(name, makeField(member, set));
    updateField(fields.get(name), member);
  }
}

function makeField(member, set) {
  const id = `${member.table}-${member.key}`;
  const whole = document.createElement("div");
  whole.className = "field";
  const row = document.createElement("div");
  row.className = "row";
  const label = document.createElement("label");
  label.htmlFor = id;
  const control = document.createElement(member.choices ? "select" : "input");
  const error = document.createElement("p");
  error.className = "error";
  error.id = `${id}-error`;
  error.setAttribute("role", "alert");
  control.id = id;
  control.setAttribute("aria-describedby", error.id);
  const field = { control, label, error, output: null, busy: 0, edited: false, version: 0, seen: member.value, turn: Promise.resolve() };
  row.append(label);
  if (member.choices) {
    row.append(control);
  } else if (typeof member.value === "boolean") {
    control.type = "checkbox";
    row.append(control);
  } else {
    const [least, most] = member.range;
    const short = least >= 0 && most <= 1;
    control.type = short ? "range" : "number";
    control.min = least;
    control.max = most;
    control.step = member.whole ? 1 : short ? 0.01 : 0.05;
    if (short) {
      field.output = document.createElement("output");
      field.output.htmlFor = id;
      const slider = document.createElement("div");
      slider.className = "slider";
      slider.append(control, field.output);
      row.append(slider);
    } else {
      row.append(control);
    }
  }
  control.addEventListener("input", () => {
    field.edited = true; // from here on `seen` stays what it was when somebody began
    if (field.output) field.output.value = Number(control.value).toFixed(2);
  });
  control.addEventListener("change", () => change(member, field));
  whole.append(row, error);
  set.append(whole);
  return field;
}

function updateField(field, member) {
  field.member = member;
  say(field.label, member.label);
  const { control } = field;
  if (member.choices) {
    member.choices.forEach(([value, text], index) => {
      if (!control.options[index]) control.append(new Option(text, value));
      say(control.options[index], text);
    });
  }
  if (field.busy || field.edited || settingsVersion < field.version) return; // being changed here, or was changed after this was sent
  field.seen = member.value;
  if (control.type === "checkbox") control.checked = member.value;
  else if (control.value !== String(member.value)) control.value = member.value;
  if (field.output) field.output.value = Number(member.value).toFixed(2);
}

// One after the other: what the second has seen is what the first did.
function change(member, field) {
  field.busy += 1;
  field.turn = field.turn.then(() => put(member, field));
}

async function put(member, field) {
  const { control } = field;
  const value = member.choices ? control.value : control.type === "checkbox" ? control.checked
    : control.value === "" ? null : Number(control.value);
  const values = { table: member.table, values: { [member.key]: value }, seen: { [member.key]: field.seen } };
  const [status, error, changed] = await send("settings", values);
  field.busy -= 1;
  if (status === 204) {
    field.seen = value;
    field.version = changed;
  }
  if (!field.busy) field.edited = error !== "" && status !== ELSEWHERE;
  say(field.error, status === ELSEWHERE ? texts.elsewhere : error);
  control.setAttribute("aria-invalid", error !== "");
  if (status === ELSEWHERE && !field.busy) updateField(field, field.member); // what it is by now
}

// Returns the answer's status, 0 without one, what went wrong in one line, "" where nothing did, and the settings' version.
async function send(path, values) {
  try {
    const answer = await post(path, values);
    if (answer.ok) return [answer.status, "", Number(answer.headers.get("X-Cuelens-Settings-Version"))];
    if (answer.status === 401) location.replace(`${base}login`);
    return [answer.status, (await answer.json()).error];
  } catch {
    return [0, texts.not_reached];
  }
}

at("pause").addEventListener("click", async () => {
  say(at("pause-error"), (await send("pause", { paused: !news.paused }))[1]);
});

at("search").addEventListener("click", () => askFor("glasses/search", {}));

at("save").addEventListener("click", async () => {
  at("save").disabled = true; // a second click would save the same
  say(at("saved"), "");
  const [, error] = await send("save", {});
  say(at("save-error"), error);
  say(at("saved"), error ? "" : texts.saved);
  at("save").disabled = false;
});

if (location.hash === "#picture") at("show-picture").checked = true;
at("show-picture").addEventListener("change", (event) => {
  if (link && link.readyState === WebSocket.OPEN) link.send(event.target.checked ? "picture on" : "picture off");
  hidePicture();
});

at("unscripted").remove();
showTexts();
setInterval(() => { watch(); showCue(); }, 250);
connect();
