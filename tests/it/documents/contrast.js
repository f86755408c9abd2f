// Texts of which a checker cannot tell what is behind them, with too little contrast; and how many there are.
const light = colour => {
  const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map(value => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [more, less] = [light(a), light(b)].sort((a, b) => b - a);
  return (more + 0.05) / (less + 0.05);
};
const page = getComputedStyle(document.body).backgroundColor;
const shown = [];
document.querySelectorAll('main svg.isop').forEach(svg => {
  // What was drawn before a text and is around it; patterns are never directly behind one.
  const behind = [];
  svg.querySelectorAll('rect, path, text').forEach(element => {
    const { fill } = getComputedStyle(element);
    const area = element.getBoundingClientRect();
    if (element.tagName !== 'text') {
      if (/^rgb\(/.test(fill) && !element.closest('defs')) behind.push({ area, fill });
      return;
    }
    const around = behind.filter(one => one.area.left <= area.left + 2 && one.area.right >= area.right - 2 &&
      one.area.top <= area.top + 4 && one.area.bottom >= area.bottom - 4).pop();
    shown.push([element.textContent, fill, around ? around.fill : page]);
  });
});
document.querySelectorAll('main .way').forEach(way => {
  const cell = way.closest('th, td, dt');
  const { backgroundColor } = getComputedStyle(cell);
  shown.push([way.textContent, getComputedStyle(way).color, /rgba\(.*, 0\)/.test(backgroundColor) ? page : backgroundColor]);
});
const low = shown.map(([text, front, back]) => [text, front, back, contrast(front, back)]).filter(one => one[3] < 4.5);
return { count: shown.length, low };
