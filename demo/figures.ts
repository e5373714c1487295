/** Numbers as people read them. */

const whole = new Intl.NumberFormat('en');

/** 1024 -> "1,024" */
export const count = (value: number): string => whole.format(value);

/** 1 token, 2 tokens */
export const plural = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

/** Three digits at most: 3.14159 -> "3.1", 31.4 -> "31", 314.2 -> "314". */
const short = (value: number): string => (value < 10 ? value.toFixed(1) : whole.format(Math.round(value)));

/** Bytes in decimal units, as download sizes are named. */
export function bytes(value: number): string {
  if (value < 1e3) return `${value} B`;
  if (value < 1e6) return `${short(value / 1e3)} kB`;
  if (value < 999.5e6) return `${short(value / 1e6)} MB`;
  return `${value < 99.5e9 ? (value / 1e9).toFixed(value < 9.95e9 ? 2 : 1) : whole.format(Math.round(value / 1e9))} GB`;
}

/** Time that is left, roughly: "40 s", "5 min", "1 h 20 min". */
export function roughly(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 4988672 -> "5.0 million" */
export function millions(value: number): string {
  return value < 1e9 ? `${short(value / 1e6)} million` : `${short(value / 1e9)} billion`;
}

export function duration(ms: number): string {
  return ms < 1000 ? `${short(ms)} ms` : `${short(ms / 1000)} s`;
}

export const rate = (perSecond: number): string => short(perSecond);
