"use strict";
/* Contents, copying, printing. */
(() => {
  const contents = document.querySelector(".toc details");
  const small = matchMedia("(max-width: 1000px)");
  const fold = () => { contents.open = !small.matches; };
  fold();
  small.addEventListener("change", fold);

  // The section whose heading was passed last is the current one.
  const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
  const places = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  const mark = () => {
    let now = places[0];
    for (const place of places) if (place.getBoundingClientRect().top < innerHeight / 3) now = place;
    if (innerHeight + scrollY >= document.documentElement.scrollHeight - 2) now = places[places.length - 1];
    for (const [id, link] of links) {
      if (now && id === now.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", mark, { passive: true });
  mark();

  for (const box of document.querySelectorAll(".command")) {
    const button = box.querySelector(".copy");
    const text = box.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        // A page opened from a disk may not reach the clipboard everywhere: select the text instead.
        getSelection().selectAllChildren(text);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // On paper everything folded is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
})();
