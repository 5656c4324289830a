/** Whether this machine, and therefore its kernel, stores the low byte first. */
export const LITTLE_ENDIAN: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
