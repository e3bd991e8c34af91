// Adds comfort to a page that is complete without it: theme, sorting, filtering, copying, folding.
(function () {
  "use strict";
  var $ = function (id) { return document.getElementById(id); };
  var all = function (query, root) { return Array.prototype.slice.call((root || document).querySelectorAll(query)); };
  all(".copy, .controls").concat([$("theme"), $("filter")]).forEach(function (e) { if (e) e.hidden = false; });

  // Theme. A file opened from disk may have no storage: then the choice lasts as long as the page.
  var themes = ["auto", "light", "dark"], theme = $("theme");
  var store = function (value) {
    try {
      if (value) localStorage.setItem("highwater-theme", value);
      return localStorage.getItem("highwater-theme");
    } catch (error) { return null; }
  };
  var paint = function (value) {
    theme.textContent = "Theme: " + value;
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
  };
  var chosen = Math.max(0, themes.indexOf(store()));
  paint(themes[chosen]);
  theme.addEventListener("click", function () {
    chosen = (chosen + 1) % themes.length;
    store(themes[chosen]);
    paint(themes[chosen]);
  });

  all(".copy").forEach(function (button) {
    button.addEventListener("click", function () {
      var code = button.parentNode.querySelector("code");
      var done = function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1600);
      };
      // Where the clipboard is closed to files, the text is at least selected.
      var select = function () {
        getSelection().selectAllChildren(code);
        if (document.execCommand && document.execCommand("copy")) done();
      };
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
      else select();
    });
  });

  var folds = all(".fold");
  var setAll = function (open) { folds.forEach(function (fold) { fold.open = open; }); };
  if ($("unfold")) {
    $("unfold").addEventListener("click", function () { setAll(true); });
    $("fold").addEventListener("click", function () { setAll(false); });
  }
  var reveal = function () {
    var target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    var fold = target && target.closest(".fold");
    if (fold) {
      fold.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
  var before = [];
  addEventListener("beforeprint", function () {
    before = folds.map(function (fold) { return fold.open; });
    setAll(true);
  });
  addEventListener("afterprint", function () {
    folds.forEach(function (fold, index) { fold.open = before[index]; });
  });

  var table = $("table");
  if (!table) return;
  var body = table.tBodies[0];
  var rows = Array.prototype.slice.call(body.rows);

  all("th[scope=col]", table).forEach(function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    // Numbers and severities are wanted largest first, words from A.
    var first = head.classList.contains("n") || column < 2 ? -1 : 1;
    button.addEventListener("click", function () {
      var was = head.getAttribute("aria-sort");
      var way = was ? (was === "ascending" ? -1 : 1) : first;
      all("th", table.tHead).forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      var key = function (row) { return row.cells[column].dataset.v; };
      rows.sort(function (a, b) {
        var x = key(a), y = key(b);
        var order = column !== 1 && x !== "" && y !== "" && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
        return order * way;
      }).forEach(function (row) { body.appendChild(row); });
    });
  });

  // A section and a mark follow their row.
  var twins = {};
  all("article[data-id], .lane a[data-id]").forEach(function (e) {
    (twins[e.dataset.id] = twins[e.dataset.id] || []).push(e);
  });
  var texts = new Map(rows.map(function (row) {
    var titles = all("[title]", row).map(function (e) { return e.title; });
    return [row, (row.textContent + " " + titles.join(" ")).toLowerCase()];
  }));
  var filter = function () {
    var words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    rows.forEach(function (row) {
      var data = row.dataset;
      var keep = Number(data.severity) >= Number($("severity").value)
        && (!$("account").value || data.account === $("account").value)
        && (!$("type").value || data.type === $("type").value)
        && words.every(function (word) { return texts.get(row).indexOf(word) >= 0; });
      row.hidden = !keep;
      if (keep) shown += 1;
      (twins[data.id] || []).forEach(function (twin) { twin.toggleAttribute("hidden", !keep); });
    });
    $("shown").textContent = shown === rows.length ? rows.length + " shown" : shown + " of " + rows.length + " shown";
    $("none").hidden = shown > 0;
  };
  var form = $("filter");
  form.addEventListener("input", filter);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(filter); });
  filter();
})();
