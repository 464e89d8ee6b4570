/** A clock that goes on in a hidden tab: browsers slow the timers of a page that nobody sees, but not a worker's. */

/** Calls `tick` every `ms` milliseconds; the answer stops it. */
export function every(ms: number, tick: () => void): () => void {
  if (typeof Worker === "undefined") {
    const timer = setInterval(tick, ms);
    return () => clearInterval(timer);
  }
  const source = URL.createObjectURL(
    new Blob([`setInterval(() => postMessage(0), ${ms})`], { type: "text/javascript" }),
  );
  const worker = new Worker(source);
  URL.revokeObjectURL(source);
  worker.onmessage = tick;
  return () => worker.terminate();
}
