package main

import (
	"fmt"
	"sync"

	"cairn/consensus/sim"
)

// mutants plants each mistake that the simulator knows, one at a time, and prints
// how many seeds it takes until a checker notices. It fails if one is not noticed
// within -seeds seeds.
func mutants(f *flags) int {
	all := sim.Mutants()
	type finding struct {
		seed      uint64
		violation *sim.Violation
	}
	found := make([]finding, len(all))
	next := make(chan int)
	var wg sync.WaitGroup
	for range f.workers {
		wg.Go(func() {
			for i := range next {
				found[i].seed, found[i].violation = all[i].Find(f.seeds)
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	missed := 0
	fmt.Println("| planted | seeds | broken rule |")
	fmt.Println("|---|---|---|")
	for i := range all {
		if found[i].violation == nil {
			missed++
			fmt.Printf("| %s | more than %d | none |\n", all[i].Name, f.seeds)
			continue
		}
		fmt.Printf("| %s | %d | %s |\n", all[i].Name, found[i].seed, found[i].violation.Rule)
	}
	fmt.Printf("%d mistakes planted one at a time, %d not noticed\n", len(all), missed)
	return min(missed, 1)
}
