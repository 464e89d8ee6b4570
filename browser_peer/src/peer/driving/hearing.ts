/** What the parts of a run say, here and on the workers, made into events of the driver's engine. */

import { type RunMessage as Message, readCheckpoint, readError, readProgress } from "../../protocol/messages";
import type { Driver } from "../../run/driver";
import type { Frame, Instruction } from "../../run/events";
import type { DriverInstruction } from "../../run/outcome";
import type { Ends, Outside, Site } from "../site";
import type { Absence } from "./absence";
import { DRIVER, type Epoch } from "./epoch";
import type { Moves } from "./moves";

/** The run, as far as it is told what happens. */
export interface Listener {
  readonly moves: Moves;
  readonly absence: Absence;
  post(to: string, message: Message): void;
  /** An event of the present epoch; nothing happens where none stands. */
  proceed(event: (driver: Driver) => readonly DriverInstruction[]): void;
}

export class Hearing implements Ends, Outside {
  constructor(private readonly run: Listener) {}

  // This peer's own part

  frame(frame: Frame): void {
    this.run.proceed((driver) => driver.frame(frame));
  }

  credit(edge: number, seq: number, bytes: number): void {
    this.run.proceed((driver) => driver.credit(edge, seq, bytes));
  }

  post(to: string, message: Message): void {
    this.run.post(to, message);
  }

  itemFailed(_: Site, { node, seq, kind, cause }: Extract<Instruction, { do: "error" }>): void {
    this.run.proceed((driver) => driver.error(node, seq, kind, cause, DRIVER));
  }

  stateSaved(_: Site, { node, seq, state, fault }: Extract<Instruction, { do: "checkpoint" }>): void {
    this.run.proceed((driver) => driver.checkpoint(node, seq, state, fault));
  }

  handedOver(_: Site, { node, state, fault }: Extract<Instruction, { do: "handOver" }>): void {
    this.run.moves.handedOver(node, state, fault);
  }

  through(): void {
    this.run.moves.through();
  }

  runFailed(_: Site, reason: string): void {
    this.run.proceed((driver) => driver.fail(reason));
  }

  // The workers

  /** A message of a worker of the present epoch; throws where it is none of its to send. */
  receive(epoch: Epoch, sender: string, message: Message): void {
    switch (message.type) {
      case "PROGRESS":
        epoch.leases.told(sender, readProgress(message.body), performance.now() / 1e3);
        break;
      case "UNREACHABLE":
        void this.run.absence.unlinked(sender, message.peer);
        break;
      case "ERROR":
        this.run.proceed((driver) => driver.error(...readError(message.body), epoch.names.get(sender)!));
        break;
      case "CHECKPOINT":
        this.run.proceed((driver) => driver.checkpoint(...readCheckpoint(message.body)));
        break;
      case "FAILED":
        this.run.proceed((driver) => driver.fail(message.text));
        break;
      case "STEP":
      case "STATE":
      case "LEAVING":
        this.run.moves.receive(sender, message);
        break;
      default:
        epoch.receive(sender, message);
    }
  }
}
