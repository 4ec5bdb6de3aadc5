// The chat page and the desk: sending with Enter, options as buttons, local times. Everything works on htmx's events.
(() => {
  "use strict";
  const language = document.documentElement.lang;
  const today = new Date().toDateString();

  const localise = () => document.querySelectorAll("main time[datetime]:not([data-local])").forEach((time) => {
    const at = new Date(time.dateTime);
    const day = at.toDateString() === today ? {} : { day: "numeric", month: "short" };
    time.textContent = at.toLocaleString(language, { ...day, hour: "2-digit", minute: "2-digit", hour12: false });
    time.dataset.local = "";
  });

  const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  const fit = (area) => {
    area.rows = Math.min(6, Math.max(1, area.value.split("\n").length));
  };

  const composerOf = (event) => event.target.closest?.("[data-composer]");

  const problem = (form, text) => {
    const line = form.parentElement.querySelector("[data-problem]");
    line.textContent = text;
    line.hidden = !text;
  };

  const dropPending = (chat) => chat.querySelectorAll(".pending, .typing").forEach((bubble) => bubble.remove());

  document.addEventListener("keydown", (event) => {
    const form = composerOf(event);
    if (!form || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (event.target.value.trim()) form.requestSubmit();
  });
  document.addEventListener("input", (event) => { if (composerOf(event)) fit(event.target); });
  document.addEventListener("click", (event) => {
    const option = event.target.closest("[data-say]");
    if (!option) return;
    const form = option.closest("[data-chat]").querySelector("[data-composer]");
    form.elements.text.value = option.dataset.say;
    form.requestSubmit();
  });

  document.addEventListener("htmx:before:request", (event) => {
    const form = composerOf(event);
    if (!form) return;
    const area = form.elements.text, chat = form.closest("[data-chat]");
    form.dataset.sent = area.value;
    problem(form, "");
    const pending = chat.querySelector("template[data-pending]");
    if (pending) {
      const bubbles = pending.content.cloneNode(true);
      bubbles.querySelector(".pending .bubble-text").textContent = area.value;
      chat.querySelector(".welcome")?.remove();
      chat.querySelector("[data-thread]").append(bubbles);
    }
    area.value = "";
    fit(area);
    form.querySelector("button").disabled = true;
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const form = composerOf(event);
    if (!form) return;
    const status = event.detail.ctx?.response?.status ?? 0, chat = form.closest("[data-chat]");
    dropPending(chat);
    form.querySelector("button").disabled = false;
    if (status >= 200 && status < 300) {
      form.elements.id.value = newId();
    } else {
      form.elements.text.value = form.dataset.sent ?? "";
      fit(form.elements.text);
      problem(form, chat.dataset.failed);
    }
    form.elements.text.focus();
  });
  // a visitor's token has run out: the page brings a new one
  document.addEventListener("htmx:before:response", (event) => {
    if (event.detail.ctx?.response?.status === 401 && document.querySelector("[data-chat][data-visitor]")) {
      event.preventDefault();
      location.reload();
    }
  });

  new MutationObserver(localise).observe(document.querySelector("main"), { childList: true, subtree: true });
  localise();
})();
