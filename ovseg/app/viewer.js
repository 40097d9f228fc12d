// Shows an answer of the server: paints it, lists its classes, says what is under the pointer.
// `element`, `trigger`, `props` and `watch` are gradio's; what is shown is `props.value`.

const find = (selector) => element.querySelector(selector);
const root = find('.ov');
const canvas = find('.ov-canvas');
const tip = find('.ov-tip');
const mark = find('.ov-mark');
const trouble = find('.ov-trouble');
const OUTLINE = 700; // the picture's shorter side in outlines, as in overlays that are downloaded

let view = null; // what the server sent
let picture = null; // the image, decoded
let labels = null; // one class a pixel of the canvas
let hidden = new Set(); // classes that are not painted
let turn = 0; // counts answers; an older one that is decoded late is dropped

// What the server sends ----------------------------------------------------------------------

async function inflated(text, bits) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  const buffer = await new Response(stream).arrayBuffer();
  return bits === 8 ? new Uint8Array(buffer) : new Uint16Array(buffer);
}

async function take(value) {
  const mine = (turn += 1);
  mark.hidden = true;
  if (!value || !value.source) {
    return;
  }
  const image = new Image();
  image.src = value.source;
  const [read] = await Promise.all([inflated(value.labels, value.bits), image.decode()]);
  if (mine !== turn) {
    return;
  }
  const stays = view && view.picture === value.picture;
  const before = new Set(stays ? view.classes.filter(isHidden).map((each) => each.name) : []);
  [view, picture, labels] = [value, image, read];
  hidden = new Set(view.classes.filter((each) => before.has(each.name)).map((each) => each.index));
  [canvas.width, canvas.height] = view.shown;
  find('.ov-shown').hidden = false;
  root.classList.add('ov-full');
  find('.ov-big').textContent = 'Another image?';
  find('.ov-small').textContent = 'Drop it here, click, or paste it';
  listClasses();
  paint();
}

function isHidden(each) {
  return hidden.has(each.index);
}

// Painting -----------------------------------------------------------------------------------

function layer(width, height) {
  const made = document.createElement('canvas');
  [made.width, made.height] = [width, height];
  return made;
}

function paint() {
  const [width, height] = view.shown;
  const opacity = Number(find('.ov-opacity').value) / 100;
  const colors = new Map();
  for (const each of view.classes) {
    if (!each.is_background && !isHidden(each)) {
      colors.set(each.index, each.color);
    }
  }
  const fill = new ImageData(width, height);
  const line = new ImageData(width, height);
  const reach = Math.max(1, Math.round(Math.min(width, height) / OUTLINE));
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 1) {
      const label = labels[at];
      const color = colors.get(label);
      if (color === undefined) {
        continue;
      }
      fill.data.set(color, 4 * at);
      fill.data[4 * at + 3] = 255;
      const isEdge =
        (x >= reach && labels[at - reach] !== label) ||
        (x + reach < width && labels[at + reach] !== label) ||
        (y >= reach && labels[at - reach * width] !== label) ||
        (y + reach < height && labels[at + reach * width] !== label);
      if (isEdge) {
        line.data.set(color, 4 * at);
        line.data[4 * at + 3] = 255;
      }
    }
  }
  const paints = layer(width, height);
  paints.getContext('2d').putImageData(fill, 0, 0);
  const lines = layer(width, height);
  lines.getContext('2d').putImageData(line, 0, 0);
  // Below the paint the picture keeps its light and dark, and loses its own hues.
  const grey = layer(width, height);
  const below = grey.getContext('2d');
  below.drawImage(picture, 0, 0, width, height);
  below.globalCompositeOperation = 'saturation';
  below.globalAlpha = Math.min(1, 2 * opacity);
  below.fillStyle = 'hsl(0, 0%, 50%)';
  below.fillRect(0, 0, width, height);
  below.globalAlpha = 1;
  below.globalCompositeOperation = 'destination-in';
  below.drawImage(paints, 0, 0);
  const pen = canvas.getContext('2d');
  pen.drawImage(picture, 0, 0, width, height);
  pen.drawImage(grey, 0, 0);
  pen.globalAlpha = opacity;
  pen.drawImage(paints, 0, 0);
  pen.globalAlpha = opacity > 0 ? 1 : 0;
  pen.drawImage(lines, 0, 0);
  pen.globalAlpha = 1;
}

// The legend ---------------------------------------------------------------------------------

function cell(row, content, kind) {
  const made = row.insertCell();
  made.append(content);
  if (kind) {
    made.className = kind;
  }
  return made;
}

function listClasses() {
  const body = find('.ov-legend tbody');
  body.replaceChildren();
  for (const each of view.classes) {
    const row = body.insertRow();
    row.dataset.index = each.index;
    row.classList.toggle('ov-off', isHidden(each));
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = !isHidden(each);
    box.setAttribute('aria-label', `Show ${each.name}`);
    box.addEventListener('change', () => show(each.index, box.checked));
    cell(row, box);
    const swatch = document.createElement('span');
    swatch.className = each.is_background ? 'ov-swatch ov-none' : 'ov-swatch';
    swatch.style.backgroundColor = each.is_background ? '' : `rgb(${each.color.join(',')})`;
    const name = document.createElement('span');
    name.className = 'ov-name';
    name.append(swatch, each.name);
    name.addEventListener('click', () => box.click());
    cell(row, name);
    cell(row, each.share, 'ov-number');
    cell(row, each.score, 'ov-number');
  }
  find('.ov-all').checked = hidden.size === 0;
  find('.ov-absent').textContent = view.absent.length ? `Not found: ${view.absent.join(', ')}` : '';
}

function show(index, isShown) {
  hidden[isShown ? 'delete' : 'add'](index);
  find(`.ov-legend tr[data-index="${index}"]`).classList.toggle('ov-off', !isShown);
  find('.ov-all').checked = hidden.size === 0;
  paint();
}

find('.ov-all').addEventListener('change', (event) => {
  hidden = new Set(event.target.checked ? [] : view.classes.map((each) => each.index));
  listClasses();
  paint();
});
find('.ov-opacity').addEventListener('input', () => view && paint());

// The pointer --------------------------------------------------------------------------------

function placeOf(event) {
  const box = canvas.getBoundingClientRect();
  const part = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value * most)));
  const [right, down] = [
    (event.clientX - box.left) / box.width,
    (event.clientY - box.top) / box.height,
  ];
  return { right, down, of: (width, height) => [part(right, width), part(down, height)] };
}

function classAt(place) {
  const [x, y] = place.of(...view.shown);
  const label = labels[y * view.shown[0] + x];
  return view.classes.find((each) => each.index === label);
}

function highlight(index) {
  for (const row of element.querySelectorAll('.ov-legend tbody tr')) {
    row.classList.toggle('ov-hover', Number(row.dataset.index) === index);
  }
}

canvas.addEventListener('pointermove', (event) => {
  const place = placeOf(event);
  const found = classAt(place);
  tip.hidden = !found;
  if (!found) {
    return;
  }
  tip.textContent = found.name;
  tip.style.top = `${100 * place.down}%`;
  tip.style.left = `${100 * place.right}%`;
  // To the side of the pointer that has room.
  const [across, along] = [place.right > 0.6 ? 'calc(-100% - 12px)' : '14px', '-130%'];
  tip.style.transform = `translate(${across}, ${place.down < 0.1 ? '60%' : along})`;
  highlight(found.index);
});
canvas.addEventListener('pointerleave', () => {
  tip.hidden = true;
  highlight(-1);
});
canvas.addEventListener('click', (event) => {
  const place = placeOf(event);
  const [column, row] = place.of(view.width, view.height);
  [mark.style.left, mark.style.top] = [`${100 * place.right}%`, `${100 * place.down}%`];
  mark.hidden = false;
  trigger('select', { row, column });
});

// Pictures in, files out ---------------------------------------------------------------------

function complain(sentence) {
  trouble.textContent = sentence;
  trouble.hidden = !sentence;
}

async function send(file) {
  if (!file) {
    return;
  }
  complain('');
  const most = Number(root.dataset.megabytes);
  if (file.size > most * 1e6) {
    complain(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, more than the ${most} MB that`
      + ' this page takes: shrink it.');
    return;
  }
  const small = find('.ov-small');
  const before = small.textContent;
  small.textContent = `Sending ${file.name}`;
  try {
    const answer = await fetch('ovseg/picture', { method: 'POST', body: file });
    const said = await answer.json();
    if (!answer.ok) {
      complain(said.error);
      return;
    }
    trigger('upload', { picture: said.picture, name: file.name || 'picture.png' });
  } catch (error) {
    complain(`The page's server does not answer: is ovseg app still running? (${error.message})`);
  } finally {
    small.textContent = before;
  }
}

find('.ov-file').addEventListener('change', (event) => {
  send(event.target.files[0]);
  event.target.value = '';
});
find('.ov-drop').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    find('.ov-file').click();
  }
});
// Anywhere on the page: a picture that misses the box would replace the page.
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  root.classList.add('ov-over');
});
document.addEventListener('dragleave', () => root.classList.remove('ov-over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  root.classList.remove('ov-over');
  send(event.dataTransfer.files[0]);
});
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData ? event.clipboardData.files : [])];
  send(files.find((file) => file.type.startsWith('image/')));
});

for (const button of element.querySelectorAll('[data-file]')) {
  button.addEventListener('click', () => {
    const opacity = Number(find('.ov-opacity').value) / 100;
    trigger('download', { kind: button.dataset.file, opacity, hidden: [...hidden] });
  });
}

watch('value', () => take(props.value));
take(props.value);
