/** A promise and its two ends: Promise.withResolvers of ES2024, which Node 20 and browsers before 2024 lack. */
export class Deferred<Value> {
  resolve!: (value: Value) => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<Value>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** Resolves with the promise, or after that many seconds. */
export async function within(limit: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => (timer = setTimeout(resolve, limit * 1e3)))]);
  clearTimeout(timer);
}
