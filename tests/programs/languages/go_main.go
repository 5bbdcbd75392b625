// Goroutines, garbage and its collections, an HTTP and an HTTPS server with their clients, calls of calls.go.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
)

func add() int {
	var wait sync.WaitGroup
	var mutex sync.Mutex
	total := 0
	for i := 0; i < 50; i++ {
		wait.Add(1)
		go func(n int) {
			defer wait.Done()
			b := make([]byte, 500000)
			mutex.Lock()
			total += n + len(b)
			mutex.Unlock()
		}(i)
	}
	wait.Wait()
	return total
}

func serve(server *httptest.Server, requests int) {
	defer server.Close()
	for i := 0; i < requests; i++ {
		answer, err := server.Client().Get(server.URL + "/path")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if string(body) != "/path" {
			os.Exit(2)
		}
	}
	fmt.Println("served", requests)
}

func main() {
	for round := 0; round < 5; round++ {
		fmt.Println(add())
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.NumGC >= 5 {
		fmt.Println("several collections")
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	serve(httptest.NewServer(handler), 50)
	serve(httptest.NewTLSServer(handler), 20)
	calls()
	os.Exit(5)
}
