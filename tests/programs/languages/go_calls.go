//go:build cgo

// Goroutines that call C; C calls back, from them and from threads of its own, of which Go knows nothing until then.
package main

/*
#cgo LDFLAGS: -pthread
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern int fromC(int value);
static int there_and_back(int value) { return fromC(value) + 1; }
static int refused(void) { errno = ENOTTY; return -1; }
static void* thread(void* value) { *(int*)value = fromC(*(int*)value); return NULL; }
static int in_threads(void) {
  pthread_t threads[4];
  int values[4], sum = 0;
  for (int i = 0; i < 4; ++i) { values[i] = i; if (pthread_create(&threads[i], NULL, thread, &values[i]) != 0) return -1; }
  for (int i = 0; i < 4; ++i) { pthread_join(threads[i], NULL); sum += values[i]; }
  return sum;
}
*/
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

//export fromC
func fromC(value C.int) C.int { return value * 10 }

func calls() {
	var wait sync.WaitGroup
	results := make([]C.int, 40)
	for i := range results {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for round := 0; round < 50; round++ {
				results[i] = C.there_and_back(C.int(i))
			}
		}(i)
	}
	wait.Wait()
	sum := 0
	for _, one := range results {
		sum += int(one)
	}
	text := C.CString("back from C")
	_, err := C.refused()
	fmt.Println(C.GoString(text), sum, C.strlen(text), err, C.in_threads())
	C.free(unsafe.Pointer(text))
}
