import { TsbpfError } from "../base/error.ts";
import type { SourcePosition } from "./source-position.ts";

/** Where in a program an assembly error happened. */
export interface AssembleErrorPlace {
  /** Name of the program or subprogram. */
  readonly program?: string | undefined;
  /** Name of the block. */
  readonly block?: string | undefined;
  /** Index of the instruction within its block, from 0. */
  readonly index?: number | undefined;
  /** The line that wrote the instruction. */
  readonly source?: SourcePosition | undefined;
}

/** A program or an instruction that cannot be encoded, with the place that wrote it. */
export class AssembleError extends TsbpfError {
  readonly place: AssembleErrorPlace;

  constructor(reason: string, place: AssembleErrorPlace = {}, hint?: string) {
    const { program, block, index, source } = place;
    const where = [
      program === undefined ? "" : `program '${program}'`,
      block === undefined ? "" : `block '${block}'`,
      index === undefined ? "" : `instruction ${index}`,
    ].filter((part) => part !== "");
    const details = source === undefined ? "" : `  at ${source.file}:${source.line}:${source.column}`;
    super(where.length === 0 ? reason : `${where.join(", ")}: ${reason}`, { details, hint });
    this.place = place;
  }
}

/** Bytes that are not instructions: what is wrong, and where. */
export class DecodeError extends TsbpfError {
  /** Offset in bytes of the instruction word that is wrong. */
  readonly offset: number;
  /** What is wrong with it, without the place. */
  readonly reason: string;

  constructor(reason: string, offset: number, bytes: Uint8Array) {
    const word = Array.from(bytes.subarray(offset, offset + 8), (byte) => byte.toString(16).padStart(2, "0"));
    const details = word.length === 0 ? "" : `  bytes ${word.join(" ")}`;
    super(`byte ${offset} (instruction word ${Math.floor(offset / 8)}): ${reason}`, { details });
    this.offset = offset;
    this.reason = reason;
  }
}
