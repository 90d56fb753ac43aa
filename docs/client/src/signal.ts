/** Removes the listener. */
export type Unsubscribe = () => void;

/** Subscription of listeners to values, and the emission of values. */
export interface Signal<T> {
  readonly on: (listener: (value: T) => void) => Unsubscribe;
  readonly emit: (value: T) => void;
}

export function signal<T>(): Signal<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    on(listener) {
      // Each subscription has its own function, so the same listener may be added twice and removed once.
      const own = (value: T): void => listener(value);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    emit(value) {
      for (const listener of [...listeners]) {
        try {
          listener(value);
        } catch (error) {
          // An error of a listener is a bug of the page: it must be reported, and must not stop the replica.
          setTimeout(() => {
            throw error;
          });
        }
      }
    },
  };
}
