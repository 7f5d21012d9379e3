// What every page does: light and dark, tables that sort, details that open before they are printed.
"use strict";

{
  const root = document.documentElement;

  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    document.dispatchEvent(new Event("flatcore-theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("flatcore-theme")),
  );

  // Numbers by size, texts by alphabet; what is not known comes last, whichever way round.
  function compare(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
  }

  function sortBy(heading) {
    const column = heading.cellIndex;
    const table = heading.closest("table");
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.key;
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b), rising ? 1 : -1)));
  }

  for (const button of document.querySelectorAll("table.sortable th button"))
    button.addEventListener("click", () => sortBy(button.parentElement));

  for (const button of document.querySelectorAll(".enlarge"))
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.closest("figure").classList.toggle("large")));
    });

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
}
