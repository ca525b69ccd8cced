"use strict";
// Filters and order of the table of cases.
const table = document.getElementById("cases");
if (table) {
  const body = table.tBodies[0], rows = [...body.rows];
  const text = document.getElementById("text"), warned = document.getElementById("warned");
  const having = [...document.querySelectorAll(".having")];

  const filter = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = having.filter(box => box.checked).map(box => box.value);
    for (const row of rows) {
      const said = row.textContent.toLowerCase(), there = row.dataset.sequences.split(" ");
      row.hidden = !words.every(word => said.includes(word))
        || (warned.checked && !["error", "warning"].includes(row.dataset.level))
        || !wanted.every(name => there.includes(name));
    }
    const shown = rows.filter(row => !row.hidden).length;
    document.getElementById("count").textContent = `${shown} of ${rows.length} shown`;
  };
  text.addEventListener("input", filter);
  for (const box of [warned, ...having]) box.addEventListener("change", filter);

  const value = (row, column) => {
    const said = row.cells[column].textContent.trim(), number = Number(said);
    return said === "–" ? null : Number.isNaN(number) ? said : number;
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const heads = [...table.tHead.rows[0].cells];
  heads.slice(0, -1).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => {  // what is not known comes last in either order
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  });
  document.getElementById("filters").hidden = false;
  filter();
}
