/** Takes a listener back. */
export type Unsubscribe = () => void;

/** Somebody to be told, and the telling. */
export interface Signal<T> {
  readonly on: (listener: (value: T) => void) => Unsubscribe;
  readonly emit: (value: T) => void;
}

export function signal<T>(): Signal<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    on(listener) {
      // A function of its own for each subscription: the same listener may be added twice and taken back once.
      const own = (value: T): void => listener(value);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    emit(value) {
      for (const listener of [...listeners]) {
        try {
          listener(value);
        } catch (error) {
          // A listener that throws is the page's bug: it must be seen, and must not stop the replica.
          setTimeout(() => {
            throw error;
          });
        }
      }
    },
  };
}
