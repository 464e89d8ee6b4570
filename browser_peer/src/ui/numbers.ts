/** Numbers as people read them: three significant digits, a thin space between thousands, the unit after a space. */

const THIN = "\u2009";

export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, THIN);
}

export function figure(value: number): string {
  if (Math.abs(value) >= 100) return count(value);
  return String(Number(value.toPrecision(Math.abs(value) < 1 ? 2 : 3)));
}

/** Milliseconds below 10 s, seconds from there on. */
export function duration(ms: number): string {
  if (ms >= 10_000) return `${figure(ms / 1000)} s`;
  return ms > 0 && ms < 0.01 ? "<0.01 ms" : `${figure(ms)} ms`;
}

export function bytes(value: number): string {
  if (value < 1000) return `${count(value)} B`;
  if (value < 100_000) return `${figure(value / 1000)} KB`;
  return value < 1e9 ? `${figure(value / 1e6)} MB` : `${figure(value / 1e9)} GB`;
}

export function rate(perSecond: number): string {
  return `${figure(perSecond)} /s`;
}

/** A share of 0 … 1. */
export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** `00:48`, `1:02:03`. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const pad = (value: number) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${pad(m)}:${pad(s)}`;
}

/** `1 item`, `3 items`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
