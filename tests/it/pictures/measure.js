// For each picture of a page: how many texts it has, and what is wrong with how they lie.
if (fonts) {
  document.querySelectorAll('svg text').forEach(text => {
    if (!/isop-(name|net)/.test(text.getAttribute('class'))) text.style.fontFamily = fonts;
  });
}
const area = element => {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return { left, right, top, bottom };
};
const within = (a, b, slack) =>
  a.left >= b.left - slack && a.right <= b.right + slack && a.top >= b.top - slack && a.bottom <= b.bottom + slack;
const meets = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const told = element => element.textContent || element.outerHTML.slice(0, 120);
// The box of a text is as high as its font; letters are within the middle of it.
const letters = text => {
  const { left, right, top, bottom } = area(text);
  const [x, y] = text.hasAttribute('transform') ? [3, 0] : [0, 3];
  return { left: left + x, right: right - x, top: top + y, bottom: bottom - y };
};
return [...document.querySelectorAll('svg')].map(svg => {
  const wrong = [];
  const whole = area(svg);
  const texts = [...svg.querySelectorAll('text')].map(element => ({ element, area: letters(element) }));
  const boxes = [...svg.querySelectorAll('.isop-box, .isop-port, .isop-plate')].map(element => ({ element, area: area(element) }));
  for (const { element, area } of texts) {
    if (!within(area, whole, 0)) wrong.push('outside: ' + told(element));
  }
  for (const list of [texts, boxes]) {
    list.forEach((a, place) => list.slice(place + 1).forEach(b => {
      if (meets(a.area, b.area)) wrong.push('over each other: ' + told(a.element) + ' / ' + told(b.element));
    }));
  }
  // A text that touches a box is in it, whole.
  for (const text of texts) {
    for (const box of boxes) {
      if (meets(text.area, box.area) && !within(text.area, box.area, 0)) {
        wrong.push('over the edge: ' + told(text.element));
      }
    }
  }
  // No line through words, nor through a box.
  for (const path of svg.querySelectorAll('path.isop-way, path.isop-exception')) {
    const { left, top } = whole;
    const length = path.getTotalLength();
    for (let at = 0; at <= length; at += 5) {
      const point = path.getPointAtLength(at);
      const [x, y] = [point.x + left, point.y + top];
      const hit = ({ area }) => x > area.left + 1 && x < area.right - 1 && y > area.top + 1 && y < area.bottom - 1;
      const through = texts.find(hit) || boxes.find(box => box.element.matches('.isop-plate, [rx="6"]') && hit(box));
      if (through) {
        wrong.push('a line through: ' + told(through.element));
        break;
      }
    }
  }
  return { texts: texts.length, wrong: [...new Set(wrong)].slice(0, 10) };
});
