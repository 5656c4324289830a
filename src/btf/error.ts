import { TsbpfError, type TsbpfErrorOptions } from "../base/error.ts";

/**
 * A BTF blob that cannot be read, a type that cannot be written, or a question to BTF that has no answer.
 *
 * `offset` is the byte in the blob (from its first byte, the header's magic) where reading failed, `typeId` the type
 * concerned; each is undefined where it has no meaning.
 */
export class BtfError extends TsbpfError {
  /** Byte offset in the blob. */
  readonly offset: number | undefined;
  /** The type concerned. */
  readonly typeId: number | undefined;

  constructor(what: string, options: BtfErrorOptions = {}) {
    super(what, options);
    this.offset = options.offset;
    this.typeId = options.typeId;
  }
}

/** How to build a {@link BtfError}. */
export interface BtfErrorOptions extends TsbpfErrorOptions {
  /** Byte offset in the blob where reading failed. */
  readonly offset?: number | undefined;
  /** The type concerned. */
  readonly typeId?: number | undefined;
}
