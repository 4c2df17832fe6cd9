"""The preset dictionary of the header's deflate: what most headers have. Part of version 1 of the format: never changed."""

WORDS = (
    b'running_mean\nrunning_var\nnum_batches_tracked\ndownsample.0.weight\nlayer1.0.conv1.weight\nlayer1.0.bn1.weight\n'
    b'features.classifier.conv.blocks.stages.stem.head.shortcut.fc.weight\n'
    b'"floats":"fp16""bf16""layers":{mobilenet_v1resnet18squeezenet1_1vgg16_bnvgg11resnet20allconv6(width=0.5)'
    b' | fold_bn | prune_channels(ratio=0. | low_rank(energy=0. | binarize | quantize_weights(bits=8)'
    b' | prune(sparsity=0.9) | share(bits=5, rate=0.0'
    b'airplaneautomobilebirdcatdeerdogfroghorseshiptruck'
    b',"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"resize":"short_side_crop"}'
    b'"size":[224,224],"channels":3,"mean":[0.4914,0.4822,0.4465],"std":[0.247,0.2435,0.2616]'
    b'{"recipe":"lenet_300_100","recipe":"lenet5_caffe","classes":["0","1","2","3","4","5","6","7","8","9"],'
    b'"input":{"size":[28,28],"channels":1,"mean":[0.1307],"std":[0.3081],"resize":"stretch"}}'
    b'1.weight\n1.bias\n3.weight\n3.bias\n5.weight\n5.bias\n7.weight\n7.bias\n0.weight\n0.bias\n2.weight\n2.bias\n'
)  # fmt: skip
