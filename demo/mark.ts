import { html, svg, type TemplateResult } from 'lit';

/** The tern: sharp wings, black cap, red bill. Drawn head up around 0,0, then turned. Also in favicon.svg. */
const tern = svg`
  <g transform="translate(26 27) rotate(52)">
    <path class="mark-wing" d="M0-15C2.2-14.4 3.4-12.6 4-10.4 8-13.4 12-15.2 16.4-15.4 22-13.2 27.4-6.4 30.6 3.4
      25.6-2.6 20.4-6.2 14.8-7 10.6-6.4 6.8-4 3.9-.6 3.2 4.4 2.4 8.6 1.6 12L5.2 25 0 15.4-5.2 25-1.6 12
      C-2.4 8.6-3.2 4.4-3.9-.6-6.8-4-10.6-6.4-14.8-7-20.4-6.2-25.6-2.6-30.6 3.4-27.4-6.4-22-13.2-16.4-15.4
      -12-15.2-8-13.4-4-10.4-3.4-12.6-2.2-14.4 0-15Z" />
    <path class="mark-cap" d="M0-20.6C2.2-20 3.6-17.6 3.5-14.6 3.4-12.8 2.2-11.4 0-11.2-2.2-11.4-3.4-12.8-3.5-14.6
      -3.6-17.6-2.2-20 0-20.6Z" />
    <path class="mark-bill" d="M-1.5-20.2 0-28.6 1.5-20.2C.6-20.8-.6-20.8-1.5-20.2Z" />
  </g>`;

export const mark = (size: number): TemplateResult => html`
  <svg class="mark" width=${size} height=${size} viewBox="0 0 52 52" aria-hidden="true">${tern}</svg>`;

const icon = (drawing: TemplateResult): TemplateResult => html`
  <svg class="icon" width="18" height="18" viewBox="0 0 18 18" aria-hidden="true">${drawing}</svg>`;

/** The small drawings on buttons; the send icon is the tern's bill. */
export const icons = {
  send: icon(svg`<path d="M2 3.2 16.4 9 2 14.8 4.6 9Z" fill="currentColor" />`),
  stop: icon(svg`<path d="M4.5 4.5h9v9h-9z" fill="currentColor" />`),
  fresh: icon(svg`<path d="M9 3.5v11M3.5 9h11" />`),
  tune: icon(svg`<path d="M2.5 5.5h6M12.5 5.5h3M2.5 12.5h3M9.5 12.5h6" />
    <circle cx="10.5" cy="5.5" r="2" /><circle cx="7.5" cy="12.5" r="2" />`),
  theme: icon(svg`<circle cx="9" cy="9" r="6.2" /><path d="M9 2.8a6.2 6.2 0 0 1 0 12.4z" fill="currentColor" />`),
  down: icon(svg`<path d="M4 7l5 5 5-5" />`),
  back: icon(svg`<path d="M11 4 6 9l5 5" />`),
  forward: icon(svg`<path d="M7 4l5 5-5 5" />`),
  menu: icon(svg`<path d="M2.5 5h13M2.5 9h13M2.5 13h8" />`),
  more: icon(svg`<circle cx="4" cy="9" r="1.4" fill="currentColor" /><circle cx="9" cy="9" r="1.4" fill="currentColor" />
    <circle cx="14" cy="9" r="1.4" fill="currentColor" />`),
  close: icon(svg`<path d="M4.5 4.5l9 9M13.5 4.5l-9 9" />`),
};
