// Sends the token and goes on to the page; the token is in no address and is kept nowhere.
"use strict";

const form = document.getElementById("form");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token");
  const error = document.getElementById("error");
  error.textContent = "";
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: token.value }),
    });
    if (answer.ok) {
      location.replace("/");
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
