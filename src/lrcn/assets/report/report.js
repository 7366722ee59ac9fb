(() => {
  'use strict';
  document.documentElement.classList.add('js');

  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, '0')}.${tenths % 10}`;
  };
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // Safari seeks in blobs but not in data: addresses.
  const asBlob = (video) => {
    const [head, body] = video.getAttribute('src').split(',');
    const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(';')[0] }));
  };

  const lastBefore = (times, time) => {
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time + 1e-3) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };

  const clip = (root) => {
    const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    const video = root.querySelector('video');
    const line = root.querySelector('.timeline');
    const playhead = element('div', 'playhead');
    const ghost = element('div', 'ghost');
    const tip = element('div', 'tip');
    ghost.hidden = tip.hidden = true;
    tip.setAttribute('role', 'presentation');
    line.append(ghost, playhead, tip);
    asBlob(video);

    // What each row says at a time: [row's name, label or null, share or null, whether it is the reference].
    const said = (time) => data.rows.map((row) => {
      const at = lastBefore(row.times, time);
      if (!row.scores) return { name: row.name, label: data.labels[row.best[at]] ?? null, reference: true };
      if (at < 0) return { name: row.name, label: null };
      const best = row.best[at];
      return { name: row.name, label: data.labels[best], share: row.scores[at][best] / 1000, scores: row.scores[at] };
    });
    const inWords = (one) => {
      if (one.label === null) return one.reference ? 'not sure' : 'nothing yet';
      return one.share === undefined ? one.label : `${one.label} ${Math.round(one.share * 100)} %`;
    };
    const place = (time) => `${(100 * Math.min(Math.max(time / data.end, 0), 1))}%`;

    const now = root.querySelector('.now');
    const clockNow = now.querySelector('[data-clock]');
    const heads = [...now.querySelectorAll('[data-head]')];
    const meters = [...now.querySelectorAll('li')];
    const show = (time) => {
      const all = said(time);
      const reference = all.find((one) => one.reference);
      playhead.style.left = place(time);
      clockNow.textContent = clock(time);
      all.forEach((one, n) => {
        heads[n].textContent = inWords(one);
        if (one.reference || !one.label || !reference || !reference.label) return;
        const right = one.label === reference.label;
        const mark = element('span', `mark ${right ? 'yes' : 'no'}`, right ? '✓' : '✗');
        mark.setAttribute('role', 'img');
        mark.setAttribute('aria-label', right ? 'right' : 'wrong');
        heads[n].append(mark);
      });
      const scored = all.filter((one) => !one.reference);
      meters.forEach((item, k) => {
        item.classList.toggle('told', Boolean(reference && reference.label === data.labels[k]));
        item.querySelectorAll('i').forEach((bar, n) => {
          const scores = scored[n] && scored[n].scores;
          bar.style.transform = `scaleX(${scores ? scores[k] / 1000 : 0})`;
        });
      });
      line.setAttribute('aria-valuenow', time.toFixed(1));
      line.setAttribute('aria-valuetext', `${time.toFixed(1)} seconds. ${all.map((one) => `${one.name}: ${inWords(one)}`).join('. ')}`);
    };

    const seek = (time) => {
      const wanted = Math.min(Math.max(time, 0), data.end - 1e-3);
      video.currentTime = wanted;
      show(wanted);
    };
    const run = () => {
      show(video.currentTime);
      if (!video.paused && !video.ended) requestAnimationFrame(run);
    };
    video.addEventListener('play', run);
    for (const event of ['seeked', 'timeupdate', 'loadedmetadata']) video.addEventListener(event, () => show(video.currentTime));

    const pointed = (event) => {
      const box = line.getBoundingClientRect();
      return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * data.end;
    };
    const hover = (event) => {
      const time = pointed(event);
      ghost.hidden = tip.hidden = false;
      ghost.style.left = place(time);
      tip.replaceChildren(element('b', '', clock(time)), ...said(time).map((one) => {
        const row = element('div');
        row.append(element('span', '', one.name), element('b', '', inWords(one)));
        return row;
      }));
      // Half the tip's width is kept free on both sides, so that it never hangs over the page's edge.
      const half = tip.offsetWidth / 2;
      const x = (time / data.end) * line.clientWidth;
      tip.style.left = `${Math.min(Math.max(x, half - 8), line.clientWidth - half + 8)}px`;
    };
    const leave = () => { ghost.hidden = tip.hidden = true; };
    line.addEventListener('pointermove', (event) => {
      hover(event);
      if (event.buttons & 1) seek(pointed(event));
    });
    line.addEventListener('pointerleave', leave);
    line.addEventListener('pointercancel', leave);
    line.addEventListener('pointerdown', (event) => { if (event.button === 0) seek(pointed(event)); });
    line.addEventListener('keydown', (event) => {
      const steps = { ArrowLeft: -0.1, ArrowDown: -0.1, ArrowRight: 0.1, ArrowUp: 0.1, PageDown: -1, PageUp: 1 };
      if (event.key in steps) seek(video.currentTime + steps[event.key]);
      else if (event.key === 'Home') seek(0);
      else if (event.key === 'End') seek(data.end);
      else if (event.key === ' ') video.paused ? video.play() : video.pause();
      else return;
      event.preventDefault();
    });
    for (const button of root.querySelectorAll('.seek')) button.addEventListener('click', () => seek(Number(button.dataset.seek)));
    show(0);
  };

  document.querySelectorAll('.clip').forEach(clip);

  for (const button of document.querySelectorAll('.copy')) {
    button.addEventListener('click', async () => {
      const text = button.parentElement.querySelector('code');
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = 'Copied';
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = 'Selected';
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 1600);
    });
  }
})();
