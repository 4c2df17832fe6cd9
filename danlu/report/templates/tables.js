"use strict";
/* Tables: sort by clicking a heading (a real button, so the keyboard works too), filter by text and by value. */
(() => {
  const value = (row, column) => row.cells[column].dataset.v;

  // Missing values stay last whichever way the rest is turned; numbers compare as numbers, words as words.
  const compare = (a, b, numeric, sign) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };

  const sortBy = (table, head, column) => {
    const numeric = head.classList.contains("num");
    const before = head.getAttribute("aria-sort");
    const down = before === "none" ? numeric : before === "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(value(a, column), value(b, column), numeric, down ? -1 : 1));
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sortBy(table, head, column));
    });
  }

  for (const box of document.querySelectorAll(".table")) {
    const filters = box.querySelector(".filters");
    if (!filters) continue;
    const rows = [...box.querySelectorAll("tbody tr")];
    const words = rows.map((row) => row.textContent.toLowerCase());
    const apply = () => {
      const wanted = (filters.querySelector("[data-search]")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
      const facets = [...filters.querySelectorAll("select")].filter((select) => select.value);
      let shown = 0;
      rows.forEach((row, i) => {
        const fits = wanted.every((word) => words[i].includes(word))
          && facets.every((select) => row.dataset[select.dataset.facet] === select.value);
        row.hidden = !fits;
        shown += fits;
      });
      filters.querySelector("output").textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    };
    filters.addEventListener("input", apply);
    filters.hidden = false;
    apply();
  }
})();
