/** A promise and its two ends: Promise.withResolvers of ES2024, which Node 20 and browsers before 2024 lack. */
export class Deferred<Value> {
  resolve!: (value: Value) => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<Value>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}
