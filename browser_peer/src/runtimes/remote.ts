/** The near end of a worker that holds nodes, and what travels between the two. */

import { type Answer, NodeError } from "./base";

/** A worker's word on call `id`. `suspended`: it waits for something and does not compute; its answer follows. */
export type Reply =
  | { id: number; answer: unknown }
  | { id: number; error: string; kind: NodeError["kind"] }
  | { id: number; suspended: true };

interface Call {
  timeoutS: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  resolve(answer: unknown): void;
  reject(error: NodeError): void;
}

/** Calls to a worker that works them off in order. One that takes too long ends the worker, and the others with it. */
export class Remote {
  private readonly calls = new Map<number, Call>();
  private readonly queue: number[] = [];
  private nextId = 0;
  /** Why the worker is gone. */
  ended: NodeError | null = null;

  /** `onMessage` gets what is no Reply. */
  constructor(
    private readonly worker: Worker,
    onMessage: (message: unknown) => void = () => {},
  ) {
    worker.onmessage = ({ data }) => {
      if (typeof data === "object" && data !== null && "id" in data) this.reply(data as Reply);
      else onMessage(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.end(new NodeError(`its worker failed: ${event.message}`, "crashed"));
    };
  }

  /** Sends `{...message, id}`. The time limit, which may be infinite, counts from when the worker turns to the call. */
  call<T>(message: object, timeoutS: number, transfer: Transferable[] = []): Promise<T> {
    if (this.ended !== null) return Promise.reject(this.ended);
    const id = this.nextId++;
    return new Promise<unknown>((resolve, reject) => {
      this.calls.set(id, { timeoutS, timer: undefined, resolve, reject });
      this.queue.push(id);
      this.startTimer();
      this.worker.postMessage({ ...message, id }, transfer);
    }) as Promise<T>;
  }

  /** Terminates the worker; what is not answered, and whatever is asked later, fails with `reason`. */
  end(reason: NodeError): void {
    if (this.ended !== null) return;
    this.ended = reason;
    this.worker.terminate();
    for (const call of this.calls.values()) {
      clearTimeout(call.timer);
      call.reject(reason);
    }
    this.calls.clear();
    this.queue.length = 0;
  }

  /** The worker computes the first call of the queue. */
  private startTimer(): void {
    const call = this.calls.get(this.queue[0] ?? -1);
    if (call === undefined || call.timer !== undefined || call.timeoutS === Number.POSITIVE_INFINITY) return;
    call.timer = setTimeout(() => {
      const late = new NodeError(`it took longer than ${call.timeoutS} s`, "timeout");
      call.reject(late);
      this.end(new NodeError("its worker was ended because another call took too long", "crashed"));
    }, call.timeoutS * 1000);
  }

  private reply(reply: Reply): void {
    const place = this.queue.indexOf(reply.id);
    if (place >= 0) this.queue.splice(place, 1);
    this.startTimer();
    const call = this.calls.get(reply.id);
    if (call === undefined || "suspended" in reply) return;
    this.calls.delete(reply.id);
    clearTimeout(call.timer);
    if ("error" in reply) call.reject(new NodeError(reply.error, reply.kind));
    else call.resolve(reply.answer);
  }
}

/** What a worker's `answer` must carry along, rather than copy. */
export function transferables(answer: unknown): Transferable[] {
  if (answer instanceof Uint8Array) return [answer.buffer as ArrayBuffer];
  const parts = (answer as Answer | undefined)?.parts;
  return parts === undefined ? [] : parts.map((part) => part.buffer as ArrayBuffer);
}
