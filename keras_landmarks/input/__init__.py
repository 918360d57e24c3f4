"""The input pipeline of a training: samples, split, cache, augmentation, batches.

The costs of each step, measured on 2 cores of a shared AMD EPYC and extrapolated to 1 million and
to 100 million images of 971 points at 128 px. Each line has the measurement, then the values for 1
million and for 100 million images. Everything is proportional to the number of images, and
everything but reading the table can be distributed.

    landmarks.csv on disk     7.6 kB a row; 7.6 GB for a million. 760 GB for 100 million,
                              which should be several files
    check (decode, read)      3,331 images/s: 5 min; 8 h. The table's reader alone has one core and
                              20,000 rows/s: 1.4 h at least
    prepare the cache         1,555 to 1,816 images/s: 10 min; 17 h, or 8 min on 128 hosts of 2
                              cores with Beam, which distributes shards
    the cache                 57 kB an image: 57 GB, 213 shards; 5.7 TB, 512 shards of 11 GB
    start of `train`          index read in 3.5 s, 0.2 kB of memory an image: 4 s, 0.2 GB; 6 min,
                              20 GB in every process, which is too much
    an epoch's order          8 bytes an image in the shuffle: 0.5 s; 50 s before the first step
    read for training         58,000 to 65,450 images/s a host from the page cache: 17 s an epoch;
                              from disk, a host with 2 GB/s feeds 35,000 images/s
    augment online            2,200 images/s a core: 8 min of a core; a host with 8 GPUs at 2,000
                              images/s each needs 8 cores
    train, ResNeXt50          14 images/s on 2 cores, 5,609 on one H100: 3 min an epoch; 5 h on one
                              H100, or 8 hosts of 8 chips
    predict, ResNeXt50        49 images/s on 2 cores, 21,630 on one H100: 46 s if photos are decoded
                              fast enough; split it by hand into several folders

A shard has 256 MB (4,700 images) up to 2.4 million images. Beyond that there are 512 larger shards,
because all of them are open during training. A kill costs the shards being written. Training
reads single records at random places, which is slow on a spinning disk or a network file system:
copy the cache to each host's own disk first.

What does not scale, in the order in which the limits are reached:

1. About 10 million. One process reads the one table and keeps every file name in memory (200 bytes
   an image, in each process), and every start stats every image. Next: the index in columns on disk
   (names by offset, as points are already), a table of several files, and the check by parts, on
   Beam.
2. About 30 million. The cache (1.7 TB) no longer fits a host's disk, and random reads go over the
   network. Next: two-stage shuffling, shards in a random order and rows within a few at once, which
   reads in sequence; each host then needs only its own shards in an epoch.
3. Hundreds of chips. Process 0 writes one state file of fully replicated weights: 0.4 GB for
   ResNeXt50 with its optimiser, seconds every 500 steps, which is fine as long as the model fits a
   chip. After every step the processes also exchange whether any of them was asked to stop; every
   tenth step would do. The batch grows with the chips, and the recipe's learning rates are for 256.
4. Sharded weights, for models of a thousand times this size. Then use Orbax, with which each host
   writes its own part.
"""
