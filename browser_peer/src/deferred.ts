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

/** Something that changes, and those who wait for a change. */
export class Changes {
  private next = new Deferred<void>();

  /** Resolves at the next change. */
  get happened(): Promise<void> {
    return this.next.promise;
  }

  happen(): void {
    const { resolve } = this.next;
    this.next = new Deferred();
    resolve();
  }

  /** What the promise gives, or undefined as soon as a change makes `stopped` hold. */
  async unless<Value>(stopped: () => boolean, promise: Promise<Value>): Promise<Value | undefined> {
    let settled = false;
    const settle = () => {
      settled = true;
      this.happen();
    };
    promise.then(settle, settle);
    while (!settled && !stopped()) await this.happened;
    return settled ? promise : undefined;
  }
}
