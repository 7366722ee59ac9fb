// Runs before the page is drawn, so that a chosen theme never flashes the other one.
(() => {
  'use strict';
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem('lrcn-theme'); } catch { return null; } };
  const keep = (name) => { try { localStorage.setItem('lrcn-theme', name); } catch { /* not kept, that is all */ } };
  const system = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : system.matches);
  const chosen = read();
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;

  document.addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme');
    const show = () => {
      button.setAttribute('aria-pressed', String(isDark()));
      document.dispatchEvent(new Event('theme'));
    };
    button.addEventListener('click', () => {
      root.dataset.theme = isDark() ? 'light' : 'dark';
      keep(root.dataset.theme);
      show();
    });
    system.addEventListener('change', show);
    show();
  });
})();
