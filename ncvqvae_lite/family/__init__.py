"""Representations of series without labels: the systems beside NC-VQVAE that the course's later chapters build.

A system is a pair of functions, `views(x, g) -> (a, b)` and `loss(z_a, z_b) -> scalar`, given to one loop.

common    `ResNet1d`, `pretrain`, `fine_tune`, and the scores of `scores`: probes, retrieval, density, rank
views     the eight views of a series in VIEWS, and how pairs of views are made of them; drift, gaps, wrong labels
contrast  losses that set one series against the others: NT-Xent, InfoNCE, queues, debiased and hard negatives, mixup;
          SimSiam, which has no others
peel      what is left when parts of VICReg are taken away: neighbours for views, free tables, Laplacian eigenmaps
loop      `learn`, the loop of systems without a pair of views
scales    TS2Vec: crops of series with gaps, contrasted at every scale of time; `svm` scores its features
reduced   TS-TCC, TF-C and CLOCS, and in `expert` ExpCLR: views and losses that the common loop takes
tables    SCARF: rows of tables with columns from other rows; four rows of scores; the rank of the partner
masked    MAE and BEiT: a transformer over patches of a series, some of which are hidden
pretexts  other hidden things: which flip, which order of segments, another channel; training on test series
game      SS-GAN: a generator and a discriminator that also tells flips
pairs     series and captions (`captions` makes both) in one space: CLIP, zero shot, LiT, the modality gap
representation  `Representation`: a system as an estimator of scikit-learn's protocol, for series of one's own

Letters: B batch, C channels, L steps, n series; h (B, 64) features of an encoder, z (B, D) projections of them. `g` is
a torch.Generator, on the device of the series; None is torch's own. Nothing else of the package imports this folder.
"""
