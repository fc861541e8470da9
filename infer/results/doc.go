// Package results keeps what long runs have measured, so that they can be continued after a kill
// and divided among machines.
//
// A run is a list of independent units, such as windows of text or documents, that are numbered from 0
// on. The result of each is kept as soon as it is there. Started again, a run does what is missing; started with
// a [Part], what is missing of that. Whoever has all of them makes the report, from what was kept alone, so
// that it is the same to the last digit however the units were divided.
//
//	place := &results.Place{Storage: results.Directory("kept"), Facts: facts}
//	store, err := place.Open(ctx, "drift", units)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	for _, unit := range store.Missing() {
//		if err := store.Keep(results.Record{Unit: unit, Data: measure(unit)}); err != nil {
//			return err
//		}
//	}
//	return store.ReadAll(report) // or a *Partial: other parts are missing
//
// # What is kept where
//
// Each worker, that is each Store that keeps anything, creates a file of its own, which nobody else writes, and never
// changes what it has written: so it takes no locks, and the directory may be on a file system that several machines share. Its name is
// WHAT-RUN-WORKER.results, or WHAT-RUN-2of4-WORKER.results of a part. RUN is the beginning of the run's key, the SHA-256 of what it depends on: units, models, texts, flags, version of the program
// (see [gguf.Fact]). WORKER is random. Files of other runs and of others may be beside it; they are left alone.
//
// In a store that speaks S3's language nothing can be added to a file, so that a file is one or more objects, called NAME.FROM-TO by the
// bytes of it that they have. What is kept at once is an object. When a worker has made 64, or 8 MiB of them, and when it
// ends, it makes one of them, and then removes those: where both are there, the larger one is read. A worker that has kept something n times
// leaves at most 64 + n/64 objects. Requests: one for what is kept at once, and for each object one to make it, one to remove it, and one or more to
// read it; one more for each 1,000 that are listed.
//
// A file is a sequence of records. All numbers are little-endian.
//
//	 0  4 bytes  "gkr1"
//	 4  uint32   attempt: 0, or how often a unit was done over because of records that contradict each other
//	 8  uint64   unit; of the first record of a file 2^64 - 1
//	16  uint32   bytes of the cost
//	20  uint32   bytes of the data
//	24  16 bytes the first of the run's key
//	40  32 bytes SHA-256 of the data
//	72  32 bytes SHA-256 of the 72 bytes before, and of the cost
//	104          cost, JSON: what it took, which may differ each time
//	             data, the same each time
//
// The data of the first is JSON that says what the run is. A record is synced to the disk before the next is begun; one that was cut off, or
// whose bytes are not those that were written, is as if it were not there, and what follows it is found by its first bytes.
// Two records of a unit with the same data count once. If the data differ, neither is believed: the unit is missing, and is done
// again, in a higher attempt.
package results
