package main

import (
	"fmt"

	"cairn/consensus/sim"
)

// mutants plants each mistake that the simulator knows, one at a time, and prints
// how many seeds it takes until a checker notices. It fails if one is not noticed
// within -seeds seeds.
func mutants(f *flags) int {
	all := sim.Mutants()
	rows := make([]chan string, len(all)) // each gets one row; empty if nobody noticed
	for i := range rows {
		rows[i] = make(chan string, 1)
	}
	next := make(chan int)
	for range f.workers {
		go func() {
			for i := range next {
				row := ""
				if seed, v := all[i].Find(f.seeds); v != nil {
					row = fmt.Sprintf("| %s | %d | %s |", all[i].Name, seed, v.Rule)
				}
				rows[i] <- row
			}
		}()
	}
	go func() {
		for i := range all {
			next <- i
		}
		close(next)
	}()
	missed := 0
	fmt.Println("| planted | seeds | broken rule |")
	fmt.Println("|---|---|---|")
	for i := range all {
		row := <-rows[i]
		if row == "" {
			missed++
			row = fmt.Sprintf("| %s | more than %d | none |", all[i].Name, f.seeds)
		}
		fmt.Println(row)
	}
	fmt.Printf("%d mistakes planted one at a time, %d not noticed\n", len(all), missed)
	return min(missed, 1)
}
