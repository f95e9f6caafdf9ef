// Before anything is painted: the theme that was chosen here last, dark at first.
document.documentElement.dataset.theme = localStorage.getItem("theme") === "light" ? "light" : "dark"
