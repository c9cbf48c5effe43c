// Sorting and filtering of the page. Without it the page is complete: controls are hidden until this has run.
(function () {
  "use strict";
  var live = document.getElementById("live");
  function say(text) { live.textContent = text; }

  // Tables: each head becomes a button; rows are sorted inside their group, holes last in either direction.
  function key(row, place) {
    var cell = row.cells[place];
    if (cell.dataset.value !== undefined) { return Number(cell.dataset.value); }
    return cell.classList.contains("hole") ? null : cell.textContent.trim().toLowerCase();
  }
  function compare(first, second) {
    if (typeof first === typeof second) { return first < second ? -1 : first > second ? 1 : 0; }
    return typeof first === "number" ? -1 : 1;
  }
  function sort(table, head, place) {
    var down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    Array.prototype.forEach.call(table.tBodies, function (body) {
      var rows = Array.prototype.slice.call(body.querySelectorAll("tr[data-method]"));
      rows.map(function (row, order) { return { row: row, order: order, key: key(row, place) }; })
        .sort(function (a, b) {
          if (a.key === null || b.key === null) { return (a.key === null) - (b.key === null) || a.order - b.order; }
          return (down ? -1 : 1) * compare(a.key, b.key) || a.order - b.order;
        })
        .forEach(function (entry) { body.appendChild(entry.row); });
    });
    say("Sorted by " + head.dataset.name + ", " + (down ? "descending" : "ascending") + ".");
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    table.querySelectorAll("thead th").forEach(function (head, place) {
      var button = document.createElement("button");
      button.type = "button";
      head.dataset.name = (head.firstChild ? head.firstChild.textContent : "").trim();
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () { sort(table, head, place); });
    });
  });

  // Filters: what is about a task or a method says so in a data attribute.
  var form = document.getElementById("filters");
  if (!form) { return; }
  var task = form.querySelector("select");
  var boxes = Array.prototype.slice.call(form.querySelectorAll("input[type=checkbox]"));
  var about = Array.prototype.slice.call(document.querySelectorAll("[data-method], [data-task]"));
  function apply(announce) {
    var chosen = {};
    boxes.forEach(function (box) { chosen[box.value] = box.checked; });
    var runs = 0;
    about.forEach(function (element) {
      var method = element.dataset.method, where = element.dataset.task;
      var hidden = (method !== undefined && chosen[method] === false) ||
        (where !== undefined && task !== null && task.value !== "" && where !== task.value);
      element.hidden = hidden;
      if (!hidden && element.classList.contains("run")) { runs += 1; }
    });
    document.querySelectorAll("main tbody").forEach(function (body) {
      var rows = body.querySelectorAll("tr[data-method]");
      if (rows.length) { body.hidden = !body.querySelector("tr[data-method]:not([hidden])"); }
    });
    var methods = boxes.filter(function (box) { return box.checked; }).length;
    if (announce) {
      say("Showing " + methods + " of " + boxes.length + " methods, " +
        (task && task.value ? task.value : "all tasks") + ", " + runs + " runs.");
    }
  }
  form.hidden = false;
  form.addEventListener("change", function () { apply(true); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.querySelectorAll("button[data-set]").forEach(function (button) {
    button.addEventListener("click", function () {
      boxes.forEach(function (box) { box.checked = button.dataset.set === "all"; });
      apply(true);
    });
  });
  apply(false);
})();
