"""The one style sheet of a report: light and dark, from a phone to a wide screen, and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #ffffff; --shade: rgb(0 0 0 / .22); --fg: #1b1e22; --muted: #565d66; --line: #d3d8de;
  --card: #f6f7f9; --link: #0b57a4;
  --c1: #0072b2; --c2: #c75000; --c3: #007a5a; --c4: #a3478a; --c5: #7d6a00; --good: #00684c; --bad: #a83f00;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --bg: #14171a; --shade: rgb(255 255 255 / .25); --fg: #e6e9ec; --muted: #a4adb7; --line: #3b424a;
    --card: #1c2024; --link: #8cc1f2;
    --c1: #56b4e9; --c2: #f09350; --c3: #35c59d; --c4: #dd92c5; --c5: #dccb52; --good: #4fd1ab; --bad: #f5a26b;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 var(--sans); overflow-wrap: anywhere; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -999rem; padding: .5rem 1rem; background: var(--bg); z-index: 2; }
.skip:focus { left: .5rem; top: .5rem; }
.page { display: block; padding: 0 1rem 3rem; max-width: 84rem; margin: 0 auto; }
header { padding: 1.5rem 0 .5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 2.5rem 0 .7rem; }
h2 { padding-top: .7rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.15rem; line-height: 1.3; margin: 2rem 0 .6rem; }
.plot :is(h3, h4), .board :is(h3, h4) { font-size: 1rem; margin: 0 0 .3rem; }
.right::before { content: "\\2713\\00a0"; color: var(--good); }
.wrong::before { content: "\\2717\\00a0"; color: var(--bad); }
p { margin: .5rem 0; max-width: 46rem; }
.note { color: var(--muted); font-size: .9rem; }
nav ul { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 1rem; }
nav ul ul { columns: 1; padding-left: .9rem; font-size: .93rem; }
nav li { break-inside: avoid; }
nav a { display: block; padding: .3rem 0; }
nav h2 { font-size: 1rem; margin: 1rem 0 .2rem; border: 0; padding: 0; }
.figures, .plots, .panels { display: grid; gap: 1rem; margin: 1rem 0; }
.figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 12.5rem), 1fr)); gap: .7rem; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.panels { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); margin: .6rem 0 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.figures dt { color: var(--muted); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-weight: 650; white-space: nowrap; }
dl { margin: 0; }
figure { margin: 0; min-width: 0; }
.plot, .board { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; }
.plot svg { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0 auto; }
.plot svg text { font-family: var(--sans) !important; }
.plot figcaption, .board figcaption { color: var(--muted); font-size: .88rem; margin-top: .4rem; }
.scroll { overflow-x: auto; margin: .3rem 0 1rem; border: 1px solid var(--line); border-radius: .5rem; }
.scroll { /* a shadow at the right as long as there is more to see */
  background: linear-gradient(to left, var(--bg) 40%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 1rem 100% no-repeat scroll;
}
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
.about { margin: 1rem 0 .3rem; font-weight: 600; }
th, td { padding: .4rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, .text { text-align: left; }
thead th, tbody th { white-space: normal; overflow-wrap: break-word; }
th:first-child { position: sticky; left: 0; min-width: 6rem; max-width: 20rem; background: var(--bg); }
thead th, thead th:first-child { background: var(--card); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
table.words td { white-space: normal; min-width: 9rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; padding: .35rem 0; font-weight: 600; color: var(--link); }
.board { margin: 1.4rem 0 .4rem; }
.panel figcaption { margin: 0 0 .25rem; }
.story { display: block; width: 100%; height: auto; }
.story .lines { stroke-linecap: round; }
.story .c1 { stroke: var(--c1); } .story .c2 { stroke: var(--c2); } .story .c3 { stroke: var(--c3); }
.story .c4 { stroke: var(--c4); } .story .c5 { stroke: var(--c5); }
.story .edge { stroke: var(--card); stroke-width: .03; }
.story .lost { fill: none; stroke: var(--muted); stroke-width: .03; stroke-dasharray: .1 .1; }
.definitions { position: absolute; width: 0; height: 0; }
footer { margin-top: 3rem; color: var(--muted); font-size: .88rem; }
@media (max-width: 40rem) {
  .plot, .board { padding: .6rem; }
  .figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 10rem), 1fr)); }
  .figures dd { font-size: 1.08rem; }
  .figures div { padding: .5rem .6rem; }
  th, td { padding: .35rem .27rem; font-size: .77rem; }
  th:first-child { min-width: 4rem; max-width: 9rem; }
}
@media (min-width: 68rem) {
  .page { display: grid; grid-template-columns: 13rem minmax(0, 1fr); column-gap: 2.5rem; }
  header, footer { grid-column: 1 / -1; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding-bottom: 1rem; }
  nav ul { columns: 1; }
  main section:first-child > h2 { margin-top: .5rem; }
}
@media print {
  nav, .skip { display: none; }
  .scroll { overflow: visible; background: none; }
  .plot, .board { break-inside: avoid; }
  .page { display: block; }
}
"""
