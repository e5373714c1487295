/** Memory that is given back at once. */

/** Nobody reads what is posted here. */
const sink = new MessageChannel();
sink.port2.close();

/**
 * Gives the memory of a buffer back; nothing may look at it any more. Left to the collector, the pieces of a download lie
 * about by the hundred MB, since buffers hardly count towards a collection. To be sent to nobody ends them at once;
 * `transfer(0)` does not in Chromium, where buffers that came from the network are also held elsewhere (docs/speed.md).
 */
export function free({ buffer }: Uint8Array<ArrayBuffer>): void {
  sink.port1.postMessage(undefined, [buffer]);
}
