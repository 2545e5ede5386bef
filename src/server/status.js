// The page is whole without this: here it is kept up to date, and times are put into the viewer's zone.
"use strict";
(() => {
  const EVERY = 5_000, UNSEEN_EVERY = 60_000, PATIENCE = 10_000;
  const format = (options) => new Intl.DateTimeFormat("en-GB", options);
  const clock = format({ hour: "2-digit", minute: "2-digit" });
  const seconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const whole = format({ dateStyle: "full", timeStyle: "long" });

  const page = document.documentElement;
  const main = document.querySelector("main");
  /** Each part of the page as the server wrote it, by id. */
  const served = new Map([...main.children].map((part) => [part.id, part.outerHTML]));
  let timer, known;

  function localize(root) {
    const today = new Date().toDateString();
    for (const time of root.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      time.title = whole.format(at);
      if (!("ago" in time.dataset)) time.textContent = (at.toDateString() === today ? clock : day).format(at);
    }
  }

  /** Replaces what has changed, and nothing else: scroll, focus and what was opened stay as they are. */
  function take(fresh) {
    if (fresh.documentElement.dataset.build !== page.dataset.build) return location.reload();
    const focused = document.activeElement?.id;
    const opened = [...main.querySelectorAll("details[open]")].map((details) => details.id);
    let place = main.firstElementChild;
    for (const part of [...fresh.querySelector("main").children]) {
      const html = part.outerHTML;
      let shown = document.getElementById(part.id);
      if (!shown) {
        shown = document.createElement(part.localName);
        main.insertBefore(shown, place);
      } else if (shown === place) {
        place = place.nextElementSibling;
      } else {
        main.insertBefore(shown, place);
      }
      if (served.get(part.id) === html) continue;
      served.set(part.id, html);
      for (const { name, value } of [...part.attributes]) shown.setAttribute(name, value);
      shown.replaceChildren(...part.childNodes);
      localize(shown);
    }
    while (place) {
      const gone = place;
      place = place.nextElementSibling;
      served.delete(gone.id);
      gone.remove();
    }
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    return connected(new Date(fresh.querySelector("#as-of time").dateTime));
  }

  function connected(at) {
    known = seconds.format(at);
    page.dataset.connection = "live";
    document.getElementById("as-of").textContent = `Live, ${known}`;
    document.getElementById("lost").hidden = true;
  }

  function lost(why) {
    const note = document.getElementById("lost");
    const text = `${why} What is shown was so at ${known}.`;
    page.dataset.connection = "lost";
    document.getElementById("as-of").textContent = `Not connected, as of ${known}`;
    if (note.hidden || note.textContent !== text) note.textContent = text;
    note.hidden = false;
    document.title = "Connection lost · allai-sync";
  }

  async function look() {
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      else lost(`The daemon cannot tell how things stand: ${(await answer.text()).trim()}.`);
    } catch {
      lost("The connection to the daemon is lost.");
    }
    wait();
  }

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(look, document.hidden ? UNSEEN_EVERY : EVERY);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? wait() : look()));
  const at = new Date(document.querySelector("#as-of time").dateTime);
  localize(document);
  connected(at);
  wait();
})();
