import { html, type TemplateResult } from 'lit';
import type { ModelInfo } from '../src/index';
import { bytes, duration, plural } from './figures';
import './report';

const simd = (info: ModelInfo): string => (info.relaxedSimd ? 'relaxed SIMD' : 'SIMD');

/** What runs; press it to read why. */
export function badge(info: ModelInfo): TemplateResult {
  return html`
    <button class="badge" data-testid="badge" popovertarget="why" title="What runs here, and why">
      <span>${plural(info.threads, 'thread')} · ${info.kernel}<span class="wide"> · ${simd(info)}</span></span>
    </button>
    <div id="why" class="why" popover data-testid="badge-details">
      <h2>What runs here, and why</h2>
      <dl>
        <div><dt>${plural(info.threads, 'thread')}</dt><dd>${info.threadsReason}</dd></div>
        <div><dt>Kernel ${info.kernel}</dt><dd>${info.kernelReason}</dd></div>
        <div><dt>Instructions</dt><dd>WebAssembly, ${simd(info)}</dd></div>
        <div><dt>Precision</dt><dd>KV cache ${info.kvCache}, output layer ${info.lmHead}</dd></div>
        <div><dt>Memory</dt><dd>${bytes(info.bytes.memory)}, of which ternary weights ${bytes(info.bytes.ternary)}</dd></div>
        <div><dt>Loaded in</dt><dd>${duration(info.loadMs)}</dd></div>
      </dl>
      <sterna-report .info=${info}></sterna-report>
    </div>
  `;
}
