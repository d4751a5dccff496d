// The worked example one site at a time: the text that the page has anyway, cut at its sites, beside a 2 x 2 image.
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("stepper");
  const source = [...document.querySelectorAll("pre")].find((pre) => pre.textContent.includes("== Forward"));
  if (!place || !source) return;

  const steps = [];
  let phase = "forward";
  let text = null;
  for (const line of source.textContent.split("\n")) {
    if (line.startsWith("== ")) {
      phase = line.startsWith("== Backward") ? "backward" : line.startsWith("== Forward") ? "forward" : "weights";
      text = null;
    }
    const site = line.match(/^Site \((\d),(\d)\)/);
    if (site) steps.push({ phase, row: +site[1], column: +site[2], lines: (text = []) });
    if (line.startsWith("Cost of all sites")) text = null;
    if (text) text.push(line);
  }

  const table = document.createElement("table");
  const cells = [1, 2].map((row) => {
    const line = table.insertRow();
    return [1, 2].map((column) => {
      const cell = line.insertCell();
      cell.textContent = `(${row},${column})`;
      return cell;
    });
  });
  const title = document.createElement("p");
  const shown = document.createElement("pre");
  const back = document.createElement("button");
  const next = document.createElement("button");
  back.textContent = "Back";
  next.textContent = "Next";
  place.className = "stepper";
  place.append(title, table, back, next, shown);

  let now = 0;
  const show = () => {
    const step = steps[now];
    title.textContent = `Step ${now + 1} of ${steps.length}, ${step.phase}: site (${step.row},${step.column})`;
    cells.flat().forEach((cell) => (cell.className = ""));
    for (const past of steps.slice(0, now)) {
      if (past.phase === step.phase) cells[past.row - 1][past.column - 1].className = "done";
    }
    cells[step.row - 1][step.column - 1].className = "now";
    shown.textContent = step.lines.join("\n").trim();
    back.disabled = now === 0;
    next.disabled = now === steps.length - 1;
  };
  back.onclick = () => { now -= 1; show(); };
  next.onclick = () => { now += 1; show(); };
  show();
});
