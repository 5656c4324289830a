/**
 * A compile-time error that is a sentence: a parameter of this type cannot be given, and the compiler quotes the name of
 * the type, sentence included.
 */
export interface Misuse<Sentence extends string> {
  readonly misuse: Sentence;
}
