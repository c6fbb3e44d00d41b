// Runs before the first paint so that a dark page never flashes white. A file, because the CSP allows no inline script.
(function () {
  var choice = localStorage.getItem('vueuse-color-scheme');
  var dark = choice === 'dark' || (choice !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.classList.toggle('dark', dark);
})();
