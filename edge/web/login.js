// Sends the token and goes on to the page; the token is in no address and is kept nowhere.
"use strict";

const { base, key } = document.body.dataset;
const form = document.getElementById("form");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token");
  const error = document.getElementById("error");
  error.textContent = "";
  try {
    const answer = await fetch(`${base}login`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Cuelens-Key": key },
      body: JSON.stringify({ token: token.value }),
    });
    if (answer.ok) {
      location.replace(base || "./");
    } else if (answer.status === 429) {
      error.textContent = form.dataset.wait.replace("{n}", answer.headers.get("Retry-After"));
    } else {
      error.textContent = form.dataset.wrong;
      token.select();
    }
  } catch {
    error.textContent = form.dataset.unreached;
  }
});
