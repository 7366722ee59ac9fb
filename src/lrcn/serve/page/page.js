// The page: which views there are, which is shown, and whether the server is there.
import { ask, found, server, tryNow, wait } from './server.js';
import { byId, coded, element, inWords, shown } from './markup.js';
import { live } from './live.js';
import { photo } from './photo.js';
import { search } from './search.js';
import { video } from './video.js';

const VIEWS = ['live', 'photo', 'search', 'video'];
const OFF = {
  live: 'The recogniser that is served reads whole clips: `lrcn serve --recognizer camera-moves` turns this on.',
  recognize: 'No recogniser is served: `lrcn serve --recognizer camera-moves` turns this on.',
  caption: 'No captioner is served: `lrcn serve --caption captions-flickr8k` adds a sentence for each photo.',
  search: 'No folder of photos is served: `lrcn serve --index FOLDER` makes its photos searchable.',
  describe: 'No describer is served: `lrcn serve --describe MODEL` turns a video into a list of shots in words.',
};

const show = (name, focused = true) => {
  const wanted = VIEWS.includes(name) ? name : VIEWS.find((one) => !byId(one).querySelector('.on').hidden) ?? 'live';
  for (const one of VIEWS) {
    shown(one === wanted, byId(one));
    const link = document.querySelector(`nav a[href="#${one}"]`);
    if (one === wanted) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const title = byId(`${wanted}-title`);
  document.title = `${title.textContent} · lrcn`;
  if (`#${wanted}` !== location.hash) history.replaceState(null, '', `#${wanted}`);
  if (focused) title.focus({ preventScroll: true });
  scrollTo(0, 0);
};

/** Shows a view's content, or the sentences that say how to have it. */
const serve = (name, jobs, begin, models) => {
  const on = jobs.some((job) => models[job]);
  const [off, content] = ['.off', '.on'].map((part) => byId(name).querySelector(part));
  shown(on, content);
  const missing = jobs.filter((job) => !models[job]);
  off.replaceChildren(...missing.flatMap((job) => [...coded(OFF[job]), ' ']));
  shown(missing.length > 0, off);
  if (!on) return;
  content.after(off);
  begin();
};

const begin = (about) => {
  const models = { ...about.models, live: about.models.recognize?.live !== false && about.models.recognize };
  serve('live', [models.recognize ? 'live' : 'recognize'], () => live(about), models);
  serve('photo', ['caption', 'search'], () => photo(about, show), models);
  serve('search', ['search'], () => search(about), models);
  serve('video', ['describe', 'recognize'], () => video(about), models);
  const names = [...new Set(Object.values(about.models).filter(Boolean).map((model) => model.name))];
  byId('about').textContent = `lrcn ${about.version}${names.length ? ` with ${names.join(', ')}` : ''}`;
};

const banner = byId('banner');
server.addEventListener('lost', ({ detail: { sentence, pause } }) => {
  const button = Object.assign(element('button', '', 'Try now'), { type: 'button' });
  button.addEventListener('click', tryNow);
  // The words are put in once: a button that has the focus keeps it while the tries go on.
  if (!banner.querySelector('button')) banner.replaceChildren(element('span'), button);
  banner.firstChild.textContent = `${sentence} Trying again in ${inWords(pause)}.`;
});

let served = '';
const compare = async () => {
  banner.replaceChildren();
  if (!served) return;
  const about = await ask('/api/about').catch(() => null);
  if (!about || JSON.stringify(about.models) === served) return;
  const button = Object.assign(element('button', '', 'Load the page anew'), { type: 'button' });
  button.addEventListener('click', () => location.reload());
  banner.replaceChildren(element('span', '', 'The server is back with other models.'), button);
};
server.addEventListener('found', compare);

const first = async () => {
  for (;;) {
    await found();
    try {
      const about = await ask('/api/about');
      served = JSON.stringify(about.models);
      return about;
    } catch {
      await wait(1);
    }
  }
};

begin(await first());
show(location.hash.slice(1), false);
addEventListener('hashchange', () => {
  const name = location.hash.slice(1);
  if (VIEWS.includes(name)) show(name);
});
